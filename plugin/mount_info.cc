#include "plugin/mount_info.h"

#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace rw {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash as \NNN.
std::string Unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// `36 35 98:0 /root /mountpoint options optional… - type source super-options`
std::optional<MountEntry> ParseLine(const std::string& line) {
  std::istringstream words(line);
  std::string id, parent, options, word;
  MountEntry entry;
  words >> id >> parent >> entry.device >> entry.root >> entry.mountpoint >> options;
  while (words >> word && word != "-") {
  }
  words >> entry.type >> entry.source;
  if (!words) return std::nullopt;
  entry.root = Unescape(entry.root);
  entry.mountpoint = Unescape(entry.mountpoint);
  entry.source = Unescape(entry.source);
  return entry;
}

}  // namespace

bool MountEntry::is_rewind() const {
  return type.starts_with("fuse") && source.starts_with(kSourcePrefix);
}

std::vector<MountEntry> ParseMounts(const std::string& text) {
  std::vector<MountEntry> entries;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (std::optional<MountEntry> entry = ParseLine(line)) entries.push_back(std::move(*entry));
  }
  return entries;
}

std::vector<MountEntry> ReadMounts() {
  std::ifstream file("/proc/self/mountinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return ParseMounts(text.str());
}

std::optional<MountEntry> FindMountAt(const std::filesystem::path& mountpoint) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : ReadMounts()) {
    if (entry.mountpoint == mountpoint) found = std::move(entry);
  }
  return found;
}

int DetachBelow(const std::filesystem::path& directory, const std::set<std::string>& keep) {
  std::string prefix = directory.string() + "/";
  std::vector<MountEntry> entries = ReadMounts();
  std::reverse(entries.begin(), entries.end());
  int count = 0;
  for (const MountEntry& entry : entries) {
    if (!entry.is_rewind() || !entry.mountpoint.starts_with(prefix)) continue;
    if (keep.contains(entry.mountpoint)) continue;
    if (umount2(entry.mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) ++count;
  }
  return count;
}

}  // namespace rw
