// POSIX checks: named functions over a directory. The same list runs on a plain directory of the
// machine, on volumes, and on several processes at once (posix_test.cc), so a check asserts what
// Linux promises, not what a volume happens to do.
//
//   POSIX_CHECK(mkdir, RefusesANameThatExists) {
//     OK(mkdir(run.Path("name").c_str(), 0755));
//     FAILS(EEXIST, mkdir(run.Path("name").c_str(), 0755));
//   }
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace rw::testing {

// What did not go as it should, one line each.
using Failures = std::vector<std::string>;
std::string Lines(const Failures& failures);

struct User {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
inline const User kAlice{65533, 65533, {65533, 65532}};
inline const User kBob{65534, 65534, {65534}};

enum TimeKind : unsigned { kNoTime = 0, kAtime = 1, kMtime = 2, kCtime = 4 };

// One run of one check. Not thread safe; children made by Start have a copy and report to it.
class CheckRun {
 public:
  explicit CheckRun(std::string directory) : directory_(std::move(directory)) {}

  // A directory of the check's own, empty at first, which everybody may write to.
  const std::string& directory() const { return directory_; }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  // Whether it lies on a volume, where some limits are wider.
  bool on_volume() const;

  void Fail(const char* file, int line, const std::string& what);
  void Add(const std::string& failure) { failures_.push_back(failure); }
  const Failures& failures() const { return failures_; }

  // Runs `work` in a process of its own, as the user if one is given. Waiting for it takes its
  // failures over; a process that did not end by itself is one, too.
  class Child {
   public:
    pid_t pid = -1;
    int failures_fd = -1;
  };
  Child Start(const std::function<void()>& work, const User* user = nullptr);
  void Wait(const Child& child);
  void InChild(const std::function<void()>& work) { Wait(Start(work)); }
  void As(const User& user, const std::function<void()>& work) { Wait(Start(work, &user)); }

  // Does `work` after the clock of the filesystem has moved on, and says which of the times of
  // `path` (a symlink's own) it changed.
  unsigned TimesChangedBy(const std::string& path, const std::function<void()>& work);

  // Conveniences; what does not work is a failure.
  std::string MakeFile(const std::string& name, const std::string& bytes = "", mode_t mode = 0644);
  std::string MakeDirectory(const std::string& name, mode_t mode = 0755);
  struct stat Stat(const std::string& path);  // lstat
  mode_t Mode(const std::string& path) { return Stat(path).st_mode & 07777; }
  std::string Contents(const std::string& path);
  // Names in a directory, sorted, without "." and "..".
  std::vector<std::string> Names(const std::string& path);

 private:
  std::string directory_;
  Failures failures_;
};

struct Check {
  const char* area;
  const char* name;
  void (*function)(CheckRun& run);
  bool volumes_only;
};

// All checks, areas in alphabetical order.
std::vector<Check> AllChecks();
std::vector<std::string> AllAreas();

// Runs the checks of an area in subdirectories of `directory`, and removes what they leave.
Failures RunArea(const std::string& area, const std::string& directory);

// Does `work` in one process per directory, all at once.
Failures RunInProcesses(const std::vector<std::string>& directories,
                        const std::function<Failures(const std::string&)>& work);

int RegisterCheck(const Check& check);
// The name of an errno, or "success".
std::string ErrorName(int error);

template <typename Got, typename Wanted>
void ExpectSame(CheckRun& run, const char* file, int line, const char* text, const Got& got,
                const Wanted& wanted) {
  if (got == wanted) return;
  std::ostringstream out;
  out << text << " is " << got << ", not " << wanted;
  run.Fail(file, line, out.str());
}

template <typename Result>
int ErrorOf(Result result) {
  return result == static_cast<Result>(-1) ? errno : 0;
}

// A descriptor for as long as the object lives.
class Fd {
 public:
  Fd(const std::string& path, int flags, mode_t mode = 0644)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~Fd() { Close(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  operator int() const { return fd_; }  // NOLINT(google-explicit-constructor): as a descriptor
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// 0 or the errno of opening the path.
inline int OpenError(const std::string& path, int flags, mode_t mode = 0644) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

#define POSIX_CHECK_OF(area, name, volumes_only)               \
  static void area##name(CheckRun& run);                       \
  static const int registered_##area##name =                   \
      RegisterCheck({#area, #name, area##name, volumes_only}); \
  static void area##name([[maybe_unused]] CheckRun& run)
#define POSIX_CHECK(area, name) POSIX_CHECK_OF(area, name, false)
// Of what volumes do and a local filesystem need not.
#define VOLUME_CHECK(area, name) POSIX_CHECK_OF(area, name, true)

#define FAILS(error, call)                                                             \
  do {                                                                                 \
    const int got_error = ErrorOf(call);                                               \
    if (got_error != (error)) {                                                        \
      run.Fail(__FILE__, __LINE__,                                                     \
               #call ": " + ErrorName(got_error) + " instead of " + ErrorName(error)); \
    }                                                                                  \
  } while (false)
#define OK(call) FAILS(0, call)
#define SAME(got, wanted) ExpectSame(run, __FILE__, __LINE__, #got, got, wanted)
#define THAT(condition)                                                \
  do {                                                                 \
    if (!(condition)) run.Fail(__FILE__, __LINE__, "not " #condition); \
  } while (false)

}  // namespace rw::testing
