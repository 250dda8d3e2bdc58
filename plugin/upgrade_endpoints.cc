#include "plugin/upgrade_endpoints.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr char kOwnProgram[] = "/proc/self/exe";

// Where this program was started from. What is there may be another by now.
std::string ProgramPath() {
  std::error_code error;
  std::string path = std::filesystem::read_symlink(kOwnProgram, error);
  const std::string gone = " (deleted)";  // proc(5)
  if (path.ends_with(gone)) path.resize(path.size() - gone.size());
  return path;
}

bool IsReplaced(const std::string& path) {
  struct stat own {
  }, there{};
  if (stat(kOwnProgram, &own) != 0 || stat(path.c_str(), &there) != 0) return false;
  return own.st_dev != there.st_dev || own.st_ino != there.st_ino;
}

Json Daemon(Volumes& volumes, const Json&) {
  const std::string program = ProgramPath();
  return {{"Version", std::string(REWIND_VERSION)},
          {"Process", getpid()},
          {"Program", program},
          {"Replaced", IsReplaced(program)},
          {"FailedUpgrade", volumes.failed_upgrade()}};
}

Json Upgrade(Volumes& volumes, const Json&) {
  volumes.Upgrade();
  return Json::object();
}

}  // namespace

const std::map<std::string, Handler>& UpgradeHandlers() {
  static const auto* const handlers =
      new std::map<std::string, Handler>{{"Rewind.Daemon", Daemon}, {"Rewind.Upgrade", Upgrade}};
  return *handlers;
}

}  // namespace rw
