# Run by .ci/openrc where no systemd is: a service of scripts from its installation to its end.
set -euo pipefail
how=$1 at=http://127.0.0.1:18991/api/v2

fail() {
  echo "FAIL  $*"
  tail -n 20 /var/log/scandrop.* 2>/dev/null || true
  exit 1
}
# soon WHAT COMMAND...: within 30 s
soon() {
  local what=$1 end=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "$what"
    sleep 0.2
  done
  echo "ok    $what"
}
is() { [ "$(scandrop service status 2>/dev/null)" = "$1" ]; }
runs_as() { pgrep -u "$1" -f '^/usr/bin/scandrop run'; }
text_of() { [ -s "/srv/scans/$1.txt" ]; }

if [ -x /sbin/openrc ]; then
  manager=OpenRC
  mkdir -p /run/openrc
  echo default >/run/openrc/softlevel
  # Debian's mounts its file systems by scripts of another package.
  printf '#!/sbin/openrc-run\nstart() { :; }\n' >/etc/init.d/localmount
  chmod 755 /etc/init.d/localmount
else
  manager=SysV
fi
useradd --system --shell /usr/sbin/nologin scandrop
install -d -m 777 /srv/scans
install -d -o scandrop -g scandrop -m 750 /etc/scandrop
printf 'api: {url: "%s"}\nfolders: [{path: /srv/scans}]\n' "$at" >/etc/scandrop/config.yaml
(umask 077 && echo the-token >/etc/scandrop/token && chown scandrop /etc/scandrop/token)
scandrop sandbox --listen 127.0.0.1:18991 >/tmp/sandbox.log 2>&1 &

case $how in
packaged)
  account=scandrop
  rc-update add scandrop default >/dev/null
  start() { rc-service scandrop start >/dev/null; }
  stop() { rc-service scandrop stop >/dev/null; }
  ;;
installed)
  account=root
  rm /etc/init.d/scandrop
  ! is running && ! is stopped || fail "status before there is a service: $(scandrop service status)"
  scandrop service install 2>/tmp/said || fail "install: $(cat /tmp/said)"
  scandrop service install 2>/tmp/said || fail "install again: $(cat /tmp/said)"
  start() { scandrop service start 2>/dev/null; }
  stop() { scandrop service stop 2>/dev/null; }
  ;;
esac
echo "== $manager, $how"
soon 'installed, not started' is stopped
start
soon 'started' is running
soon "it runs as $account" runs_as $account
cp /mnt/postcard.jpg /srv/scans/one.jpg
soon 'a scan comes back as text' text_of one
[ -s /var/log/scandrop.log ] || [ -s /var/log/scandrop.err ] || fail 'there is no log'
if [ "$how" = installed ]; then
  log=$(sed -n 's/^log: *//p' /tmp/said)
  [ -s "$log" ] || fail "the log is said to be in $log"
  echo "ok    its log is where install says"
fi
if [ $manager = OpenRC ]; then
  rc-service scandrop reload >/dev/null
  soon 'reloaded' grep -q 'configuration reloaded' /var/log/scandrop.log
  old=$(pgrep -o -f '^/usr/bin/scandrop run')
  kill -9 "$old"
  new() { pgrep -f '^/usr/bin/scandrop run' | grep -vqx "$old"; }
  soon 'killed: started again' new
  cp /mnt/postcard.jpg /srv/scans/two.jpg
  soon 'and takes scans' text_of two
fi
stop
soon 'stopped' is stopped
! pgrep -f '^/usr/bin/scandrop run' >/dev/null || fail 'it goes on'
tail -n 1 /var/log/scandrop.* | grep -q 'scandrop stopped' || fail 'it did not end in order'
if [ "$how" = installed ]; then
  scandrop service uninstall 2>/dev/null
  [ ! -e /etc/init.d/scandrop ] || fail 'its script is left'
  [ -z "$(find /etc/rc*.d /etc/runlevels -name '*scandrop' 2>/dev/null)" ] || fail 'links to its script are left'
  [ -s /etc/scandrop/token ] && [ -e /var/lib/scandrop/queue.db ] || fail 'configuration or state are gone'
  echo 'ok    uninstalled: configuration and state stay'
fi
kill %1
