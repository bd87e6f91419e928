#!/usr/bin/env bash
# The life of the rpm, in the container of .ci/packages, after the Debian package is gone from it: rpm itself runs its
# scripts. /mnt/job holds two versions of it (old.rpm, new.rpm), and what life.sh needs.
set -euo pipefail
cd /mnt/job/scans

say() { printf '%s\n' "   $*"; }
fail() { echo "FAILED: $*"; journalctl -u scandrop --no-pager -n 40 || true; scandrop service status || true; exit 1; }
wait_for() { # wait_for SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "waited in vain for $what"
    sleep 0.1
  done
}
# Nothing that it depends on is known to rpm here.
package() { rpm --nodeps --force-debian "$@" >/mnt/job/rpm.log 2>&1 || { cat /mnt/job/rpm.log; fail "rpm $*"; }; }
main_pid() { systemctl show -p MainPID --value scandrop; }

userdel scandrop
systemd-run --quiet --unit=sandbox-rpm /mnt/job/scandrop sandbox --listen 127.0.0.1:8401 --token the-token --work 200ms
say "rpm: install"
package -i /mnt/job/old.rpm
id scandrop >/dev/null || fail "it made no user"
[ "$(stat -c '%U:%G %a' /etc/scandrop /etc/scandrop/config.yaml | tr '\n' ' ')" = 'root:scandrop 750 root:scandrop 640 ' ] || fail "$(ls -ld /etc/scandrop/*)"
! systemctl is-active --quiet scandrop || fail "it runs before there is a token"
mkdir /srv/rpm
echo the-token | scandrop init --url http://127.0.0.1:8401/api/v2 --folder /srv/rpm --formats txt --token-file - --service >/mnt/job/init.log 2>&1 || { cat /mnt/job/init.log; fail "init"; }
cp letter.pdf /srv/rpm/
wait_for 60 letter.txt test -s /srv/rpm/letter.txt

say "rpm: upgrade of what runs"
old=$(main_pid) sum=$(sha256sum </etc/scandrop/config.yaml)
package -U /mnt/job/new.rpm
scandrop version | grep -q '^scandrop 1\.0\.1 ' || fail "$(scandrop version)"
again() { local p; p=$(main_pid); [ "$p" != 0 ] && [ "$p" != "$old" ] && systemctl is-active --quiet scandrop; }
wait_for 30 "the new version" again
systemctl is-enabled --quiet scandrop || fail "it does not start with the machine any more"
[ "$sum" = "$(sha256sum </etc/scandrop/config.yaml)" ] || fail "the configuration was changed"
cp note.heic /srv/rpm/
wait_for 60 note.txt test -s /srv/rpm/note.txt

say "rpm: remove: stopped, what was configured and remembered stays"
package -e scandrop
[ ! -e /usr/bin/scandrop ] && ! systemctl is-active --quiet scandrop && ! pgrep -u scandrop >/dev/null || fail "something is left running"
[ ! -e /etc/systemd/system/multi-user.target.wants/scandrop.service ] || fail "it is still enabled"
[ -s /etc/scandrop/config.yaml.rpmsave ] && [ -s /etc/scandrop/token ] && [ -s /var/lib/scandrop/stand-in/queue.db ] || fail "configuration or state are gone: $(ls /etc/scandrop)"
