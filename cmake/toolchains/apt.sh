# To be sourced: apt with lists of its own, so that those of the machine stay as they are.
release="$(. /etc/os-release && echo "$VERSION_CODENAME")"
debian_sources="deb-src http://deb.debian.org/debian $release main"
debian_backports="deb http://deb.debian.org/debian $release-backports main"

# private_apt FOLDER LINE...: fetches the lists of these lines of a sources.list into FOLDER; "${apt[@]}" reads them. Fails
# where one cannot be reached.
private_apt() {
  local folder="$1"
  shift
  mkdir -p "$folder/lists/partial"
  printf '%s\n' "$@" > "$folder/sources.list"
  apt=(apt-get -qq -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
       -o "Dir::State::lists=$folder/lists" -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" --error-on=any update
}
