#!/bin/sh
# Runs a compilation and keeps what ptxas says of each kernel beside the object file, as <object>.resources.txt.
# CMake calls it in front of nvcc; tools/gpu/resources.mjs reads the files.
object=
before=
for word; do
  [ "$before" = -o ] && object=$word
  before=$word
done
case $object in
  *.o) ;;
  *) exec "$@" ;;
esac
"$@" -Xptxas -v 2>"$object.log"
code=$?
grep -v -e '^ptxas info' -e 'bytes stack frame' "$object.log" >&2
[ $code -eq 0 ] && grep -e '^ptxas info' -e 'bytes stack frame' "$object.log" >"$object.resources.txt"
rm -f "$object.log"
exit $code
