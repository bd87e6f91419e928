#!/usr/bin/env bash
# Run by .ci/systemd in a container with a real systemd. Everything here is what a person types, and what he must see.
set -uo pipefail
S=/opt/my\ programs/scandrop # a space, so that quoting is tried
failed=0 begun=$SECONDS
ok() { printf 'ok    %s (%d s)\n' "$1" $((SECONDS - begun)); begun=$SECONDS; }
bad() {
  printf 'FAIL  %s\n' "$1"
  systemctl status scandrop --no-pager -l | head -n 30
  journalctl -u scandrop --no-pager -n 30
  failed=1
}
want() { # want WHAT COMMAND...: the command succeeds
  local what=$1
  shift
  if "$@"; then ok "$what"; else bad "$what"; fi
}
within() { # within SECONDS COMMAND...: it succeeds before so long
  local end=$((SECONDS + $1))
  shift
  until "$@" 2>/dev/null; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}
status() { "$S" service status --config /etc/scandrop/config.yaml "$@" 2>/dev/null; }
is() { [[ "$(status)" == $1* ]]; }

mkdir -p "$(dirname "$S")" /etc/scandrop /srv/scans "/srv/more scans" /home/anna
cp /mnt/job/scandrop "$S"
useradd -M -d /home/anna -s /bin/bash anna
chown anna:anna /srv/scans "/srv/more scans" /home/anna
chmod 700 /home/anna
su anna -c 'mkdir /home/anna/inbox'
ip link set lo up
"$S" sandbox --listen 127.0.0.1:8400 --work 300ms --latency 200ms >/mnt/job/sandbox.log 2>&1 &
sandbox=$!
config() { # config FOLDERS
  cat >/etc/scandrop/config.yaml <<END
api: {url: "http://127.0.0.1:8400/api/v2", rate: 100, burst: 100}
folders: [$1]
END
}
folder() { echo "{path: '$1', quiet: 100ms, rescan: 2s}"; }
all="$(folder /srv/scans), $(folder '/srv/more scans'), $(folder /home/anna/inbox)"
config "$all"

# Without a service, and without a token.
"$S" service status >/mnt/job/out 2>&1
[ $? = 1 ] && grep -q 'not installed' /mnt/job/out && grep -q 'hint:' /mnt/job/out && ok 'status where there is no service' || bad 'status where there is no service'
"$S" service install >/mnt/job/out 2>&1
[ $? = 2 ] && grep -q 'token' /mnt/job/out && [ ! -e /etc/systemd/system/scandrop.service ] && ok 'no installation without a token' || { cat /mnt/job/out; bad 'no installation without a token'; }
echo the-token >/etc/scandrop/token
chmod 600 /etc/scandrop/token

# A half-done installation, as other programs leave it.
: >/etc/systemd/system/scandrop.service
want 'install repairs a half-done one' "$S" service install
want 'installing again is fine' "$S" service install
want 'the unit and its drop-in are clean' systemd-analyze verify --recursive-errors=no --man=no /etc/systemd/system/scandrop.service
want 'it starts with the system' systemctl is-enabled --quiet scandrop
want 'status: stopped' is stopped
systemd-analyze security scandrop.service --no-pager | tail -n 1
exposure=$(systemd-analyze security scandrop.service --no-pager | sed -n 's/.*scandrop.service: \([0-9.]*\).*/\1/p')
want "exposure $exposure is 2.0 at most" awk "BEGIN {exit !($exposure <= 2.0)}"
want 'start' "$S" service start
want 'status: running' is running
# check tries the folders as the service's account, also those that only the service is shown.
check() { "$S" check --config /etc/scandrop/config.yaml >/mnt/job/out 2>&1; }
check && grep -q '^ok    installed service, which runs as scandrop (running)' /mnt/job/out && [ "$(grep -c '^ok    folder /' /mnt/job/out)" = 3 ] && ! grep -q '^WRONG' /mnt/job/out && ok 'check: all is well, as scandrop' || { cat /mnt/job/out; bad 'check: all is well, as scandrop'; }
mkdir -p /srv/late /home/anna/late && chmod 700 /srv/late /home/anna/late && chown anna: /home/anna/late
config "$all, $(folder /srv/late), $(folder /home/anna/late)"
! check && grep -q "WRONG installed service.*has no leave for them: /srv/late, /home/anna/late" /mnt/job/out && grep -q 'hint: "scandrop service install", then "scandrop service restart"' /mnt/job/out &&
  grep -q "WRONG folder /srv/late: scandrop, the service's account: .*permission denied" /mnt/job/out && ok 'check: a folder that the service has no leave for' || { cat /mnt/job/out; bad 'check: a folder that the service has no leave for'; }
"$S" service install >/dev/null 2>&1
check && ok 'check: installing again gives it' || { cat /mnt/job/out; bad 'check: installing again gives it'; }
config "$all"
"$S" service install >/dev/null 2>&1
pid=$(systemctl show -P MainPID scandrop)
[ "$(stat -c %U /proc/$pid)" = scandrop ] && ok 'it runs as its own user' || bad 'it runs as its own user'
! grep -aq the-token /proc/$pid/environ && ok 'the token is not in its environment' || bad 'the token is not in its environment'

# Scans that another user drops come back as text that this user can read.
drop() { su anna -c "cp '/mnt/job/$1' '$2'"; }
text() { su anna -c "test -s '$1'"; }
drop letter.pdf /srv/scans/
drop telegram.gif '/srv/more scans/'
(umask 027 && drop note.heic /home/anna/inbox/) # readable by its owner and group
want 'a scan of another user comes back as text' within 60 text /srv/scans/letter.txt
want 'in a folder with a space' within 60 text '/srv/more scans/telegram.txt'
want 'in a home folder, which is hidden otherwise' within 60 text /home/anna/inbox/note.txt

# Crash, hang.
started() { systemctl show -P ExecMainStartTimestampMonotonic scandrop; }
before=$(started)
kill -9 "$(systemctl show -P MainPID scandrop)"
restarting() { is 'restarting: it was ended by signal 9'; }
want 'status: restarting, with the reason' within 4 restarting
again() { [ "$(started)" != "$before" ] && is running; }
want 'kill -9: running again within 10 s' within 10 again
[ "$(status --json | grep -c '"restarts": 1')" = 1 ] && ok 'the restart is counted' || bad 'the restart is counted'

mkdir -p /etc/systemd/system/scandrop.service.d
printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >/etc/systemd/system/scandrop.service.d/90-test.conf
systemctl daemon-reload
"$S" service restart
before=$(started)
within 20 is running
kill -STOP "$(systemctl show -P MainPID scandrop)"
want 'a hang: the watchdog restarts it' within 30 again
sleep 5
[ "$(systemctl show -P NRestarts scandrop)" = 1 ] && ok 'and it stays' || bad 'and it stays'
rm /etc/systemd/system/scandrop.service.d/90-test.conf
systemctl daemon-reload

# Held.
kill $sandbox
"$S" sandbox --listen 127.0.0.1:8400 --token another >/mnt/job/sandbox.log 2>&1 &
sandbox=$!
sleep 1
drop postcard.jpg /srv/scans/
held() { is 'held: token: '; }
want 'status: held, with the reason' within 30 held
"$S" service status >/dev/null 2>&1
[ $? = 5 ] && ok 'exit status 5' || bad 'exit status 5'
says_held() { [[ "$(systemctl show -P StatusText scandrop)" == held:* ]]; }
want 'systemctl says so, too, with the next beat' within 90 says_held
kill $sandbox
"$S" sandbox --listen 127.0.0.1:8400 --work 300ms >/mnt/job/sandbox.log 2>&1 &
sandbox=$!
"$S" service restart
want 'it goes on when that is over' within 60 text /srv/scans/postcard.txt

# Reload: the process stays, a mistake is refused, a folder goes.
pid=$(systemctl show -P MainPID scandrop)
echo 'folders: [{path: /srv/scans, formats: [pdf]}]' >/etc/scandrop/config.yaml
! systemctl reload scandrop 2>/dev/null && within 10 is running && ok 'a configuration with a mistake is refused' || bad 'a configuration with a mistake is refused'
config "$(folder /srv/scans)"
want 'reload' systemctl reload scandrop
reloaded() { journalctl -u scandrop --no-pager | grep -q 'configuration reloaded'; }
want 'the new configuration is in force' within 10 reloaded
[ "$(systemctl show -P MainPID scandrop)" = "$pid" ] && ok 'by the same process' || bad 'by the same process'

# A configuration that cannot be used is not tried for ever.
echo 'folders: [{path: /srv/scans, formats: [pdf]}]' >/etc/scandrop/config.yaml
! "$S" service restart >/mnt/job/out 2>&1 && grep -q 'configuration' /mnt/job/out && ok 'a start without a usable configuration fails, and says why' || { cat /mnt/job/out; bad 'a start without a usable configuration fails, and says why'; }
sleep 6
is 'failed: it ended with status 2' && [ "$(systemctl show -P NRestarts scandrop)" = 0 ] && ok 'status: failed, and it is not started again' || { status; bad 'status: failed, and it is not started again'; }
config "$all"
want 'start' "$S" service start

# Stop, uninstall.
want 'stop' "$S" service stop
want 'status: stopped' is stopped
"$S" service start
want 'uninstall stops it' "$S" service uninstall
! pgrep -f 'scandrop run' >/dev/null && ok 'no process is left' || bad 'no process is left'
[ ! -e /etc/systemd/system/scandrop.service ] && [ ! -e /etc/systemd/system/scandrop.service.d ] && [ ! -e /etc/systemd/system/multi-user.target.wants/scandrop.service ] && ok 'no file is left' || bad 'no file is left'
[ -e /var/lib/scandrop/queue.db ] && [ -e /etc/scandrop/config.yaml ] && [ -s /srv/scans/letter.txt ] && ok 'state, configuration and results are' || bad 'state, configuration and results are'
! "$S" service uninstall >/mnt/job/out 2>&1 && grep -q 'not installed' /mnt/job/out && ok 'uninstalling again says so' || bad 'uninstalling again says so'

# What cannot be enabled leaves nothing: /etc/systemd/system is there, systemctl is not.
mkdir /mnt/job/bin
printf '#!/bin/sh\n[ "$1" != enable ] || { echo no >&2; exit 1; }\nexec /usr/bin/systemctl "$@"\n' >/mnt/job/bin/systemctl
chmod +x /mnt/job/bin/systemctl
! PATH=/mnt/job/bin:$PATH "$S" service install >/mnt/job/out 2>&1 && [ ! -e /etc/systemd/system/scandrop.service ] && [ ! -e /etc/systemd/system/scandrop.service.d ] && ok 'a failed installation leaves nothing' || { cat /mnt/job/out; bad 'a failed installation leaves nothing'; }

# The service of one user.
as_anna() { su - anna -c "$*"; }
chmod 755 /home/anna # its own shell files, none of ours
loginctl enable-linger anna
within 10 test -S "/run/user/$(id -u anna)/bus"
as_anna 'mkdir -p ~/.config/scandrop ~/mine'
cat >/home/anna/.config/scandrop/config.yaml <<END
api: {url: "http://127.0.0.1:8400/api/v2", token: t, rate: 100, burst: 100}
status: {listen: "127.0.0.1:0"}
folders: [{path: ~/mine, quiet: 100ms, rescan: 2s}]
END
chown anna: /home/anna/.config/scandrop/config.yaml
chmod 600 /home/anna/.config/scandrop/config.yaml
want 'user: install' as_anna "'$S' service install --user"
want 'user: start' as_anna "'$S' service start --user"
[ "$(as_anna "'$S' service status --user")" = running ] && ok 'user: running' || bad 'user: running'
as_anna 'cp /mnt/job/letter.pdf mine/'
want 'user: a scan comes back as text' within 60 test -s /home/anna/mine/letter.txt
upid=$(as_anna "XDG_RUNTIME_DIR=/run/user/$(id -u anna) systemctl --user show -P MainPID scandrop")
kill -9 "$upid"
user_running() { [ "$(as_anna "'$S' service status --user" 2>/dev/null)" = running ]; }
sleep 1
want 'user: kill -9: running again within 10 s' within 10 user_running
want 'user: starts with the session' test -e /home/anna/.config/systemd/user/default.target.wants/scandrop.service
want 'user: uninstall' as_anna "'$S' service uninstall --user"
[ ! -e /home/anna/.config/systemd/user/scandrop.service ] && ok 'user: no file is left' || bad 'user: no file is left'
"$S" service status --user >/mnt/job/out 2>&1
[ $? = 1 ] && ok 'root has no such service' || { cat /mnt/job/out; bad 'root has no such service'; }

kill $sandbox
[ $failed = 0 ] && echo "the service works on this systemd ($(systemctl --version | head -n 1))"
exit $failed
