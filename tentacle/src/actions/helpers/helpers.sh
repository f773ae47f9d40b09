# A look-up mostly stands in a substitution, whose exit status the script drops, and then it would go on with an empty
# secret. So the script's own process is ended.
__mantle_withheld() {
__mantle_why="'$1' is a secret, or reaches one, that this action was not given; name it under secrets: of the action"
printf '%s\n' "$__mantle_why" >&2
__mantle_say "resultMessage message='$(__mantle_64 "$__mantle_why")'" >&2
kill -TERM $$
exit 1
}
# In pieces, so that a shell that traces its commands prints nothing that looks like a message.
__mantle_say() { printf '%s%s[%s %s]\n' '##' mantle "$__mantle_key" "$1"; }
__mantle_64() { printf '%s' "$1" | base64 | tr -d '\r\n'; }
set_octopusvariable() {
case "$3" in
-sensitive) __mantle_say "setVariable name='$(__mantle_64 "$1")' value='$(__mantle_64 "$2")' sensitive='VHJ1ZQ=='";;
*) __mantle_say "setVariable name='$(__mantle_64 "$1")' value='$(__mantle_64 "$2")'";;
esac
}
# The file is collected when the step is over, so it need not be there yet.
new_octopusartifact() {
case "$1" in
/*|[A-Za-z]:*) __mantle_path=$1;;
*) __mantle_path=$PWD/$1;;
esac
if [ ! -f "$__mantle_path" ]; then write_verbose "there is no file '$__mantle_path' yet; it is collected when the step is over"; fi
__mantle_say "createArtifact path='$(__mantle_64 "$__mantle_path")' name='$(__mantle_64 "${2:-${1##*/}}")'"
}
update_progress() { __mantle_say "progress percentage='$(__mantle_64 "$1")' message='$(__mantle_64 "$2")'"; }
fail_step() {
if [ -n "$1" ]; then __mantle_say "resultMessage message='$(__mantle_64 "$1")'"; fi
exit 1
}
mask_octopusvalue() { __mantle_say "mask value='$(__mantle_64 "$1")'"; }
__mantle_write() { __mantle_say "stdout-$1"; shift; printf '%s\n' "$*"; __mantle_say stdout-default; }
write_verbose() { __mantle_write verbose "$@"; }
write_highlight() { __mantle_write highlight "$@"; }
write_wait() { __mantle_write wait "$@"; }
write_warning() { __mantle_write warning "$@"; }
write_error() { __mantle_write error "$@"; }
mantle_set() { set_octopusvariable "$@"; }
mantle_progress() { update_progress "$@"; }
mantle_fail() { fail_step "$@"; }
mantle_artifact() { new_octopusartifact "$@"; }
mantle_mask() { mask_octopusvalue "$@"; }
mantle_verbose() { write_verbose "$@"; }
mantle_highlight() { write_highlight "$@"; }
mantle_warning() { write_warning "$@"; }
mantle_error() { write_error "$@"; }
