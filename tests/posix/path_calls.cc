#include "tests/posix/path_calls.h"

#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

namespace rw::testing {
namespace {

int Open(const std::string& path, int flags) {
  const int error = OpenError(path, flags | O_NONBLOCK);
  errno = error;
  return error == 0 ? 0 : -1;
}

std::vector<PathCall> MakeTable() {
  using Run = CheckRun&;
  using Path = const std::string&;
  const timespec times[2] = {{1, 0}, {1, 0}};
  std::vector<PathCall> table = {
      {"mkdir", true, false, true, [](Run, Path p) { return mkdir(p.c_str(), 0755); }},
      {"mkfifo", true, false, true, [](Run, Path p) { return mkfifo(p.c_str(), 0644); }},
      {"mknod", true, false, true, [](Run, Path p) { return mknod(p.c_str(), S_IFREG | 0644, 0); }},
      {"symlink", true, false, true, [](Run, Path p) { return symlink("target", p.c_str()); }},
      {"link", true, false, true,
       [](Run run, Path p) { return link(run.Path("from").c_str(), p.c_str()); }},
      {"open(O_CREAT|O_EXCL)", true, false, true,
       [](Run, Path p) { return Open(p, O_CREAT | O_EXCL | O_WRONLY); }},
      {"open", false, true, false, [](Run, Path p) { return Open(p, O_RDONLY); }},
      {"open(O_WRONLY)", false, true, true, [](Run, Path p) { return Open(p, O_WRONLY); }},
      {"open(O_TRUNC)", false, true, true, [](Run, Path p) { return Open(p, O_RDWR | O_TRUNC); }},
      {"stat", false, true, false,
       [](Run, Path p) {
         struct stat st;
         return stat(p.c_str(), &st);
       }},
      {"lstat", false, false, false,
       [](Run, Path p) {
         struct stat st;
         return lstat(p.c_str(), &st);
       }},
      {"access", false, true, false, [](Run, Path p) { return access(p.c_str(), R_OK); }},
      {"statvfs", false, true, false,
       [](Run, Path p) {
         struct statvfs st;
         return statvfs(p.c_str(), &st);
       }},
      {"chmod", false, true, true, [](Run, Path p) { return chmod(p.c_str(), 0644); }},
      {"chown", false, true, true, [](Run, Path p) { return chown(p.c_str(), 1, 1); }},
      {"lchown", false, false, true, [](Run, Path p) { return lchown(p.c_str(), 1, 1); }},
      {"truncate", false, true, true, [](Run, Path p) { return truncate(p.c_str(), 1); }},
      {"utimensat", false, true, true,
       [times](Run, Path p) { return utimensat(AT_FDCWD, p.c_str(), times, 0); }},
      {"utimensat(NOFOLLOW)", false, false, true,
       [times](Run, Path p) { return utimensat(AT_FDCWD, p.c_str(), times, AT_SYMLINK_NOFOLLOW); }},
      {"setxattr", false, true, true,
       [](Run, Path p) { return setxattr(p.c_str(), "user.x", "x", 1, 0); }},
      {"unlink", false, false, true, [](Run, Path p) { return unlink(p.c_str()); }},
      {"link(from)", false, false, true,
       [](Run run, Path p) { return link(p.c_str(), run.Path("to").c_str()); }},
      {"rename(from)", false, false, true,
       [](Run run, Path p) { return rename(p.c_str(), run.Path("to").c_str()); }},
      {"chdir", false, true, false,
       [](Run, Path p) {
         const Fd here(".", O_RDONLY | O_DIRECTORY);
         const int result = chdir(p.c_str());
         const int error = errno;
         if (result == 0 && fchdir(here) != 0) return -1;
         errno = error;
         return result;
       }},
  };
  return table;
}

}  // namespace

const std::vector<PathCall>& PathCalls() {
  static const std::vector<PathCall> table = MakeTable();
  return table;
}

void MakePathCallFiles(CheckRun& run) {
  unlink(run.Path("from").c_str());
  run.MakeFile("from", "", 0666);
}

}  // namespace rw::testing
