#!/usr/bin/env bash
# The life of the Debian package, in a container with systemd and nothing of ours; .ci/packages starts it there. /mnt/job holds
# two versions of the package (old.deb, new.deb), the steps of docs/linux.md (step-1 to step-5), the sample scans (scans),
# and a scandrop for the sandbox. The sandbox has credits for each page once: what is paid twice leaves a later scan unread.
set -euo pipefail
cd /mnt/job/scans

say() { printf '%s\n' "   $*"; }
fail() { echo "FAILED: $*"; journalctl -u scandrop --no-pager -n 40 || true; scandrop service status || true; exit 1; }
mkdir /mnt/job/bin
printf '#!/bin/sh\nexec "$@"\n' >/mnt/job/bin/sudo
chmod +x /mnt/job/bin/sudo
PATH=/mnt/job/bin:$PATH
as_alice() { runuser -u alice -- "$@"; }
main_pid() { systemctl show -p MainPID --value scandrop; }
wait_for() { # wait_for SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "waited in vain for $what"
    sleep 0.1
  done
}
text_of() { as_alice test -s "/srv/scans/${1%.*}.txt"; }
done_with() { [ "$(cat /var/lib/scandrop/stand-in/journal*.jsonl | grep -c '"state":"done"')" = "$1" ]; }
uploads() { journalctl -u scandrop -o cat | grep -c 'msg="job uploaded"' || true; }
# The first of several is there: the others are about to be sent, or on the wire.
another_upload() { [ "$(uploads)" -gt "$seen" ]; }

useradd --create-home --groups users alice
# Each page once: 14 are in the eight samples, and what is too much would be noticed by its absence only at the end.
systemd-run --quiet --unit=sandbox /mnt/job/scandrop sandbox --listen 127.0.0.1:8400 --token the-token --work 200ms --latency 400ms --credits 14

say "step 1 of docs/linux.md: install"
. /mnt/job/step-1 >/mnt/job/apt.log 2>&1 || { cat /mnt/job/apt.log; fail "the package does not install"; }
[ "$(stat -c '%U:%G %a' /etc/scandrop/config.yaml)" = 'root:scandrop 640' ] || fail "config.yaml: $(stat -c '%U:%G %a' /etc/scandrop/config.yaml)"
dpkg-query -W -f '${Conffiles}' scandrop | grep -q /etc/scandrop/config.yaml || fail "config.yaml is no conffile"
! systemctl is-active --quiet scandrop || fail "it runs before there is a token"
[ -s /usr/share/man/man1/scandrop.1.gz ] && bash -n /usr/share/bash-completion/completions/scandrop || fail "manual page or completion"

say "steps 2 to 4: folder, init at a terminal, check"
. /mnt/job/step-2
# What a person answers: the folder, what, which results, the token, and yes. The stand-in is asked instead of the service.
sed -i 's|scandrop init|& --url http://127.0.0.1:8400/api/v2|' /mnt/job/step-3
answer() { # answer QUESTION ANSWER
  until grep -q "$1" /mnt/job/init.log; do sleep 0.1; done
  sleep 0.3 # until what is typed is not shown any more
  echo "$2"
}
: >/mnt/job/init.log
{ answer 'Which folder' ''; answer 'What is to become' ''; answer 'Which results' txt; answer 'API token' the-token; answer 'Install the service' y; } |
  timeout 60 script --quiet --flush --return --command '. /mnt/job/step-3' /dev/null >>/mnt/job/init.log 2>&1 || { cat /mnt/job/init.log; fail "init"; }
! grep -q the-token /mnt/job/init.log || { cat /mnt/job/init.log; fail "init shows the token"; }
[ "$(stat -c '%U:%G %a' /etc/scandrop/config.yaml /etc/scandrop/token | tr '\n' ' ')" = 'root:scandrop 640 root:root 600 ' ] || fail "what init wrote: $(ls -l /etc/scandrop)"
sed -i 's|^api:|&\n  rate: 50|' /etc/scandrop/config.yaml
scandrop service restart
. /mnt/job/step-4 >/mnt/job/check.log || { cat /mnt/job/check.log; fail "check"; }
grep -q '^ok    installed service, which runs as scandrop (running)' /mnt/job/check.log || { cat /mnt/job/check.log; fail "check does not see the service"; }
systemctl is-active --quiet scandrop || fail "it does not run after step 4"
systemctl is-enabled --quiet scandrop || fail "it does not start with the machine"
[ "$(ps -o user= -p "$(main_pid)" | tr -d ' ')" = scandrop ] || fail "it does not run as scandrop"
[ "$(scandrop service status)" = running ] || fail "status: $(scandrop service status)"

say "step 5: a scan of another user comes back as text"
as_alice bash -c '. /mnt/job/step-5' >/dev/null
wait_for 60 letter.txt text_of letter.pdf

say "kill -9 in mid-work: it runs again within 10 s, and nothing is lost"
seen=$(uploads)
as_alice cp note.heic postcard.jpg recipe.png /srv/scans/
wait_for 60 "a scan at the service" another_upload
old=$(main_pid) began=$(date +%s%N)
kill -9 "$old"
again() { local p; p=$(main_pid); [ "$p" != 0 ] && [ "$p" != "$old" ] && systemctl is-active --quiet scandrop; }
wait_for 15 "another start" again
took=$((($(date +%s%N) - began) / 1000000))
say "running again after $took ms"
[ $took -le 10000 ] || fail "it took $took ms"
for f in note.heic postcard.jpg recipe.png; do wait_for 120 "$f" text_of $f; done

say "an upgrade over the running service, in mid-upload: nothing lost, nothing twice"
seen=$(uploads)
as_alice cp minutes.pdf ledger.tiff patient-form.jpg telegram.gif /srv/scans/
wait_for 60 "a scan at the service" another_upload
old=$(main_pid)
sum=$(sha256sum </etc/scandrop/config.yaml)
dpkg -i /mnt/job/new.deb </dev/null >/mnt/job/upgrade.log 2>&1 || { cat /mnt/job/upgrade.log; fail "the upgrade fails"; }
wait_for 30 "the new version" again
scandrop version | grep -q '^scandrop 1\.0\.1 ' || fail "$(scandrop version)"
[ "$sum" = "$(sha256sum </etc/scandrop/config.yaml)" ] || fail "the configuration was changed"
for f in minutes.pdf ledger.tiff patient-form.jpg telegram.gif; do wait_for 180 "$f" text_of $f; done
wait_for 60 "eight scans that are done" done_with 8
! grep -hv '"paid":1[,}]' /var/lib/scandrop/stand-in/journal*.jsonl || fail "a scan was paid for twice"
scandrop service stop
[ "$(SCANDROP_TOKEN=the-token scandrop remote list --json | tr -d ' \n')" = '[]' ] || fail "left at the service: $(SCANDROP_TOKEN=the-token scandrop remote list)"
scandrop service start

say "remove: stopped, configuration and state stay"
apt-get remove -qq -y scandrop </dev/null >/mnt/job/remove.log 2>&1 || { cat /mnt/job/remove.log; fail "it cannot be removed"; }
[ ! -e /usr/bin/scandrop ] && ! systemctl is-active --quiet scandrop && ! pgrep -u scandrop >/dev/null || fail "something is left running"
[ -s /etc/scandrop/config.yaml ] && [ -s /etc/scandrop/token ] && [ -s /var/lib/scandrop/stand-in/queue.db ] || fail "configuration or state are gone"

say "install again: it knows what was paid for"
dpkg -i /mnt/job/new.deb </dev/null >/mnt/job/again.log 2>&1 || { cat /mnt/job/again.log; fail "it cannot be installed again"; }
/usr/bin/scandrop service install >/dev/null 2>&1 && scandrop service start
as_alice cp letter.pdf /srv/scans/again.pdf
wait_for 60 again.txt text_of again.pdf

say "purge: nothing is left but the user, and the scans and texts"
apt-get purge -qq -y scandrop </dev/null >/mnt/job/purge.log 2>&1 || { cat /mnt/job/purge.log; fail "it cannot be purged"; }
left=$(find / -xdev \( -path /mnt/job -o -path /proc -o -path /sys -o -path /srv -o -path /var/log/journal -o -path /run/log \) -prune -o -iname '*scandrop*' -print)
[ -z "$left" ] || fail "left: $left"
[ "$(ls /srv/scans/*.txt | wc -l)" = 9 ] || fail "texts are gone: $(ls /srv/scans)"
say "the whole life: 8 scans, 14 pages paid for, 0 lost, 0 twice"
