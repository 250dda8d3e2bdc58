#include "tests/posix/check.h"

#include <dirent.h>
#include <grp.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace rw::testing {
namespace {

std::vector<Check>& Registry() {
  static std::vector<Check> checks;
  return checks;
}

bool IsAfter(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}
bool Differ(const timespec& a, const timespec& b) { return IsAfter(a, b) || IsAfter(b, a); }

void WriteAll(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = write(fd, bytes.data() + done, bytes.size() - done);
    if (count <= 0) return;
    done += static_cast<size_t>(count);
  }
}

std::string ReadAll(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;)
    out.append(buffer, static_cast<size_t>(count));
  return out;
}

bool Become(const User& user) {
  return setgroups(user.groups.size(), user.groups.data()) == 0 &&
         setresgid(user.gid, user.gid, user.gid) == 0 &&
         setresuid(user.uid, user.uid, user.uid) == 0;
}

void AppendLines(Failures* out, const std::string& lines) {
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) out->push_back(line);
}

bool OnVolume(const std::string& directory) {
  struct statfs st;
  return statfs(directory.c_str(), &st) == 0 && st.f_type == FUSE_SUPER_MAGIC;
}

}  // namespace

int RegisterCheck(const Check& check) {
  Registry().push_back(check);
  return 0;
}

std::vector<Check> AllChecks() {
  std::vector<Check> checks = Registry();
  std::stable_sort(checks.begin(), checks.end(), [](const Check& a, const Check& b) {
    return std::string_view(a.area) < std::string_view(b.area);
  });
  return checks;
}

std::vector<std::string> AllAreas() {
  std::set<std::string> areas;
  for (const Check& check : Registry()) areas.insert(check.area);
  return {areas.begin(), areas.end()};
}

std::string Lines(const Failures& failures) {
  std::string out;
  for (const std::string& failure : failures) out += failure + "\n";
  return out;
}

std::string ErrorName(int error) {
  if (error == 0) return "success";
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

bool CheckRun::on_volume() const { return OnVolume(directory_); }

void CheckRun::Fail(const char* file, int line, const std::string& what) {
  failures_.push_back(std::filesystem::path(file).filename().string() + ":" + std::to_string(line) +
                      ": " + what);
}

CheckRun::Child CheckRun::Start(const std::function<void()>& work, const User* user) {
  int ends[2];
  Child child;
  if (pipe2(ends, O_CLOEXEC) != 0) {
    Fail(__FILE__, __LINE__, "no pipe");
    return child;
  }
  child.pid = fork();
  if (child.pid == 0) {
    failures_.clear();
    if (user != nullptr && !Become(*user)) _exit(100);
    work();
    WriteAll(ends[1], Lines(failures_));
    _exit(0);
  }
  close(ends[1]);
  child.failures_fd = ends[0];
  return child;
}

void CheckRun::Wait(const Child& child) {
  AppendLines(&failures_, ReadAll(child.failures_fd));
  close(child.failures_fd);
  int status = 0;
  if (waitpid(child.pid, &status, 0) != child.pid || status != 0)
    Fail(__FILE__, __LINE__, "a child ended with status " + std::to_string(status));
}

unsigned CheckRun::TimesChangedBy(const std::string& path, const std::function<void()>& work) {
  const struct stat before = Stat(path);
  for (timespec now; clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0;) {
    if (IsAfter(now, before.st_ctim)) break;
    usleep(1000);
  }
  work();
  const struct stat after = Stat(path);
  return (Differ(before.st_atim, after.st_atim) ? kAtime : 0U) |
         (Differ(before.st_mtim, after.st_mtim) ? kMtime : 0U) |
         (Differ(before.st_ctim, after.st_ctim) ? kCtime : 0U);
}

std::string CheckRun::MakeFile(const std::string& name, const std::string& bytes, mode_t mode) {
  const std::string path = Path(name);
  const Fd fd(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0 || pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
      fchmod(fd, mode) != 0) {
    Fail(__FILE__, __LINE__, "cannot make " + name + ": " + ErrorName(errno));
  }
  return path;
}

std::string CheckRun::MakeDirectory(const std::string& name, mode_t mode) {
  const std::string path = Path(name);
  if (mkdir(path.c_str(), 0700) != 0 || chmod(path.c_str(), mode) != 0)
    Fail(__FILE__, __LINE__, "cannot make " + name + ": " + ErrorName(errno));
  return path;
}

struct stat CheckRun::Stat(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0)
    Fail(__FILE__, __LINE__, "lstat of " + path + ": " + ErrorName(errno));
  return st;
}

std::string CheckRun::Contents(const std::string& path) {
  const Fd fd(path, O_RDONLY);
  if (fd < 0) Fail(__FILE__, __LINE__, "open of " + path + ": " + ErrorName(errno));
  return ReadAll(fd);
}

std::vector<std::string> CheckRun::Names(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) {
    Fail(__FILE__, __LINE__, "opendir of " + path + ": " + ErrorName(errno));
    return names;
  }
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

Failures RunArea(const std::string& area, const std::string& directory) {
  Failures failures;
  const mode_t umask_before = umask(0);
  const bool on_volume = OnVolume(directory);
  for (const Check& check : AllChecks()) {
    if (check.area != area || (check.volumes_only && !on_volume)) continue;
    CheckRun run(directory + "/" + check.name);
    if (mkdir(run.directory().c_str(), 0777) != 0) {
      failures.push_back(std::string(check.name) + ": no directory: " + ErrorName(errno));
      continue;
    }
    check.function(run);
    for (const std::string& failure : run.failures())
      failures.push_back(std::string(check.name) + ": " + failure);
    std::error_code error;
    std::filesystem::remove_all(run.directory(), error);
    if (error) failures.push_back(std::string(check.name) + ": cannot be removed");
  }
  umask(umask_before);
  return failures;
}

Failures RunInProcesses(const std::vector<std::string>& directories,
                        const std::function<Failures(const std::string&)>& work) {
  CheckRun run(directories.front());
  std::vector<CheckRun::Child> children;
  children.reserve(directories.size());
  for (const std::string& directory : directories) {
    children.push_back(run.Start([&] {
      for (const std::string& failure : work(directory)) run.Add(failure);
    }));
  }
  for (const auto& child : children) run.Wait(child);
  return run.failures();
}

}  // namespace rw::testing
