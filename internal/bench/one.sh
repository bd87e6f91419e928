#!/usr/bin/env bash
# Sees one scan through, as a careful person would write it down: curl for each call,
# again after a 429, and one download a second until the result is there.
scan=$1
auth=(-sS -H 'Authorization: Bearer bench' -H 'Accept: application/json')
while :; do
  id=$(curl "${auth[@]}" -F action=transcribe -F "file=@$scan" "$API/documents" | jq -r '.id // empty')
  [ -n "$id" ] && break
  sleep 1
done
for format in $FORMATS; do
  until [ "$(curl "${auth[@]}" -o "$scan.part" -w '%{http_code}' "$API/documents/$id.$format")" = 200 ]; do sleep 1; done
  mv "$scan.part" "${scan%.*}.$format"
done
until [ "$(curl "${auth[@]}" -o /dev/null -w '%{http_code}' -X DELETE "$API/documents/$id")" = 204 ]; do sleep 1; done
