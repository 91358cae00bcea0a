
# The mount points of larder, for the commands that take one.
_larder_mount_points() {
    local dir kind
    while read -r _ dir kind _; do
        # The kernel writes blanks and the like in octal: \040, which printf wants as \0040.
        [[ $kind == fuse.larder ]] && printf '%b\n' "${dir//\\/\\0}"
    done < /proc/self/mounts
}

_larder_with_mount_points() {
    _larder "$@"
    local current=${COMP_WORDS[COMP_CWORD]} line
    [[ $current == -* || $COMP_CWORD -lt 2 ]] && return
    # What follows an option that takes a value is no mount point.
    case $3 in
        --wait | --interval | -i | --count | -n | --rate | --free-space-ratio) return ;;
    esac
    case ${COMP_WORDS[1]} in
        umount) local others=none ;;
        stats | scrub | flush | set-size) local others=directory ;;
        info | evict) local others=file ;;
        *) return ;;
    esac
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line == "$current"* ]] && COMPREPLY+=("$line")
    done < <(_larder_mount_points)
    if [[ $others != none ]]; then
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -A "$others" -- "$current")
    fi
    # Readline then quotes what needs it; outside of a completion there is nobody to tell.
    compopt -o filenames 2> /dev/null
}

complete -F _larder_with_mount_points -o bashdefault -o default larder
