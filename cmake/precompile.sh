#!/bin/sh
# Runs a compiler that makes a precompiled header, and leaves the header's checksum beside it: ccache
# reads that for every file that uses the header, instead of the header's 100 to 200 MB.
"$@" || exit
while [ $# -gt 1 ]; do
  if [ "$1" = -o ]; then
    case $2 in
      *.gch) sha256sum < "$2" > "$2.sum" ;;
    esac
  fi
  shift
done
