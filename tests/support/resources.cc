#include "tests/support/resources.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

#include "plugin/mount_info.h"

namespace rw::testing {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr size_t kIndexFiles = 8;

size_t Entries(const std::string& directory) {
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  if (error) return 0;
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

uint64_t ResidentKib(const std::string& status) {
  const size_t at = status.find("VmRSS:");
  return at == status.npos ? 0 : std::stoull(status.substr(at + 6));
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Resources& resources) {
  return out << resources.descriptors << " descriptors, " << resources.threads << " threads, "
             << resources.mounts << " mounts, " << resources.resident_kib << " KiB";
}

Resources ResourcesOf(pid_t process, const std::string& below) {
  const std::string directory = "/proc/" + std::to_string(process);
  Resources resources;
  resources.descriptors = Entries(directory + "/fd");
  resources.threads = Entries(directory + "/task");
  for (const MountEntry& entry : ParseMounts(ReadWhole(directory + "/mountinfo"))) {
    resources.mounts += entry.is_rewind() && entry.mountpoint.starts_with(below + "/");
  }
  resources.resident_kib = ResidentKib(ReadWhole(directory + "/status"));
  return resources;
}

bool HoldsNoMore(const Resources& now, const Resources& before) {
  return now.descriptors <= before.descriptors + kIndexFiles && now.threads <= before.threads &&
         now.mounts <= before.mounts;
}

Resources WaitForNoMoreThan(const Resources& before, pid_t process, const std::string& below) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const Resources now = ResourcesOf(process, below);
    if (HoldsNoMore(now, before) || std::chrono::steady_clock::now() > end) return now;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace rw::testing
