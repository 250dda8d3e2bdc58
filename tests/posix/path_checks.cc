// What every call that takes a path refuses: the calls are a table, and each reason is tried with
// all of them that it applies to.
#include <limits.h>
#include <stdio.h>

#include <algorithm>

#include "tests/posix/path_calls.h"

namespace rw::testing {
namespace {

const std::string kLongName(256, 'n');
const std::string kLongestName(255, 'n');

// A path of exactly `length` bytes that leads to `directory`/x.
std::string PathOfLength(const std::string& directory, size_t length) {
  std::string path = directory;
  while (path.size() + 4 <= length) path += "/.";
  path += std::string(length - path.size() - 1, '/') + "x";
  return path;
}

void ExpectError(CheckRun& run, const PathCall& call, const std::string& path, int error,
                 const char* reason) {
  const int got = ErrorOf(call.call(run, path));
  if (got != error) {
    run.Fail(__FILE__, __LINE__,
             std::string(call.name) + " " + reason + ": " + ErrorName(got) + " instead of " +
                 ErrorName(error));
  }
}

// For each call, with what it needs beside the path made anew.
void ForEach(CheckRun& run, const std::function<bool(const PathCall&)>& wanted, std::string path,
             int error, const char* reason) {
  for (const PathCall& call : PathCalls()) {
    if (wanted(call)) ExpectError(run, call, path, error, reason);
  }
}

bool Any(const PathCall&) { return true; }
bool Makes(const PathCall& call) { return call.makes; }
bool NeedsOne(const PathCall& call) { return !call.makes; }
bool Follows(const PathCall& call) { return call.follows && !call.makes; }

}  // namespace

POSIX_CHECK(path, AComponentThatIsNoDirectory) {
  MakePathCallFiles(run);
  run.MakeFile("file");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  ForEach(run, Any, run.Path("file/x"), ENOTDIR, "below a file");
  ForEach(run, Any, run.Path("fifo/x"), ENOTDIR, "below a fifo");
  ForEach(run, NeedsOne, run.Path("file/."), ENOTDIR, "of a file with /.");
}

POSIX_CHECK(path, NamesOf255BytesAndOfOneMore) {
  MakePathCallFiles(run);
  ForEach(run, Any, run.Path(kLongName), ENAMETOOLONG, "of a name of 256 bytes");
  ForEach(run, Any, run.Path(kLongName + "/x"), ENAMETOOLONG, "below a name of 256 bytes");
  run.MakeDirectory(kLongestName);
  for (const PathCall& call : PathCalls()) {
    if (!call.makes) continue;
    const std::string path = run.Path(kLongestName + "/" + std::string(255, 'm'));
    ExpectError(run, call, path, 0, "of 255 bytes");
    ExpectError(run, call, path, EEXIST, "of 255 bytes, again");
    OK(remove(path.c_str()));
    MakePathCallFiles(run);
  }
}

POSIX_CHECK(path, PathsOf4095BytesAndOfOneMore) {
  MakePathCallFiles(run);
  ForEach(run, Any, PathOfLength(run.directory(), PATH_MAX), ENAMETOOLONG, "of 4096 bytes");
  for (const PathCall& call : PathCalls()) {
    if (!call.makes) continue;
    ExpectError(run, call, PathOfLength(run.directory(), PATH_MAX - 1), 0, "of 4095 bytes");
    OK(remove(run.Path("x").c_str()));
    MakePathCallFiles(run);
  }
}

POSIX_CHECK(path, DeeperThanAPathCanSay) {
  const Fd start(".", O_RDONLY | O_DIRECTORY);
  OK(chdir(run.directory().c_str()));
  constexpr int kDeep = 40;  // 40 x 150 bytes > PATH_MAX
  const std::string name(150, 'd');
  for (int i = 0; i < kDeep; ++i) {
    OK(mkdir(name.c_str(), 0755));
    OK(chdir(name.c_str()));
  }
  SAME(OpenError("file", O_CREAT | O_WRONLY), 0);
  OK(unlink("file"));
  for (int i = 0; i < kDeep; ++i) {
    OK(chdir(".."));
    OK(rmdir(name.c_str()));
  }
  OK(fchdir(start));
}

POSIX_CHECK(path, WhatIsNotThere) {
  MakePathCallFiles(run);
  OK(symlink("absent", run.Path("dangling").c_str()));
  ForEach(run, Any, run.Path("absent/x"), ENOENT, "below what is not there");
  ForEach(run, Any, run.Path("dangling/x"), ENOENT, "below a dangling symlink");
  ForEach(run, NeedsOne, run.Path("absent"), ENOENT, "of what is not there");
  ForEach(run, Follows, run.Path("dangling"), ENOENT, "of a dangling symlink");
  ForEach(run, Any, "", ENOENT, "of an empty path");
}

POSIX_CHECK(path, WhatIsThereAlready) {
  MakePathCallFiles(run);
  run.MakeFile("file");
  run.MakeDirectory("directory");
  OK(mkfifo(run.Path("fifo").c_str(), 0644));
  OK(symlink("absent", run.Path("dangling").c_str()));
  OK(symlink("directory", run.Path("symlink").c_str()));
  OK(mknod(run.Path("device").c_str(), S_IFCHR | 0600, 0x103));
  for (const char* name : {"file", "directory", "fifo", "dangling", "symlink", "device"})
    ForEach(run, Makes, run.Path(name), EEXIST, name);
  for (const char* name : {"directory/.", "directory/.."}) {
    FAILS(EEXIST, mkdir(run.Path(name).c_str(), 0755));
    FAILS(EEXIST, mkfifo(run.Path(name).c_str(), 0755));
    FAILS(EEXIST, symlink("x", run.Path(name).c_str()));
    FAILS(EEXIST, link(run.Path("from").c_str(), run.Path(name).c_str()));
    SAME(OpenError(run.Path(name), O_CREAT | O_WRONLY), EISDIR);
  }
}

POSIX_CHECK(path, SymlinksThatGoRound) {
  MakePathCallFiles(run);
  OK(symlink("two", run.Path("one").c_str()));
  OK(symlink("one", run.Path("two").c_str()));
  ForEach(run, Any, run.Path("one/x"), ELOOP, "below a circle");
  ForEach(run, Follows, run.Path("one"), ELOOP, "of a circle");
}

POSIX_CHECK(path, FortySymlinksAndNoMore) {
  run.MakeFile("0", "data");
  for (int i = 1; i <= 41; ++i)
    OK(symlink(std::to_string(i - 1).c_str(), run.Path(std::to_string(i)).c_str()));
  SAME(run.Contents(run.Path("40")), "data");
  SAME(OpenError(run.Path("41"), O_RDONLY), ELOOP);
}

POSIX_CHECK(path, DirectoriesThatMayNotBeSearched) {
  MakePathCallFiles(run);
  run.MakeDirectory("closed", 0700);
  OK(chmod(run.MakeFile("closed/x").c_str(), 0666));
  run.As(kAlice, [&] {
    ForEach(run, Any, run.Path("closed/x"), EACCES, "below a closed directory");
    ForEach(run, Any, run.Path("closed/absent"), EACCES, "below a closed directory");
  });
  run.MakeDirectory("alices", 0600);
  OK(chown(run.Path("alices").c_str(), kAlice.uid, kAlice.gid));
  run.As(kAlice, [&] { ForEach(run, Any, run.Path("alices/x"), EACCES, "without x for owner"); });
}

POSIX_CHECK(path, DirectoriesThatMayNotBeWritten) {
  MakePathCallFiles(run);
  run.MakeDirectory("closed", 0755);
  run.MakeFile("closed/file", "", 0666);
  OK(mkdir(run.Path("closed/directory").c_str(), 0777));
  run.As(kAlice, [&] {
    ForEach(run, Makes, run.Path("closed/x"), EACCES, "in a directory of others");
    FAILS(EACCES, unlink(run.Path("closed/file").c_str()));
    FAILS(EACCES, rmdir(run.Path("closed/directory").c_str()));
    FAILS(EACCES, rename(run.Path("closed/file").c_str(), run.Path("x").c_str()));
    FAILS(EACCES, rename(run.Path("closed/file").c_str(), run.Path("closed/x").c_str()));
  });
}

POSIX_CHECK(path, AddressesThatAreNone) {
  MakePathCallFiles(run);
  const auto* nowhere = reinterpret_cast<const char*>(uintptr_t{16});
  FAILS(EFAULT, open(nowhere, O_RDONLY));
  FAILS(EFAULT, mkdir(nowhere, 0755));
  FAILS(EFAULT, mknod(nowhere, S_IFIFO | 0644, 0));
  FAILS(EFAULT, symlink(nowhere, run.Path("x").c_str()));
  FAILS(EFAULT, link(run.Path("from").c_str(), nowhere));
  FAILS(EFAULT, rename(run.Path("from").c_str(), nowhere));
  FAILS(EFAULT, unlink(nowhere));
  FAILS(EFAULT, rmdir(nowhere));
  FAILS(EFAULT, chmod(nowhere, 0644));
  FAILS(EFAULT, chown(nowhere, 0, 0));
  FAILS(EFAULT, truncate(nowhere, 0));
}

POSIX_CHECK(path, OtherFilesystems) {
  run.MakeFile("file");
  FAILS(EXDEV, link("/proc/self/status", run.Path("x").c_str()));
  FAILS(EXDEV, rename(run.Path("file").c_str(), "/proc/x"));
  FAILS(EXDEV, rename("/proc/self/status", run.Path("x").c_str()));
}

// Any byte but / and NUL, none of it UTF-8.
POSIX_CHECK(path, NamesOfArbitraryBytes) {
  std::vector<std::string> names;
  for (int first = 1; first < 256; ++first) {
    if (first == '/' || first == '.') continue;
    std::string name(1, static_cast<char>(first));
    for (int i = 1; i < 255; ++i) {
      const int byte = (first + i * 7) % 256;
      name += static_cast<char>(byte == 0 || byte == '/' ? 0xff : byte);
    }
    names.push_back(name);
    SAME(OpenError(run.Path(name), O_CREAT | O_EXCL | O_WRONLY), 0);
  }
  std::sort(names.begin(), names.end());
  THAT(run.Names(run.directory()) == names);
  for (const std::string& name : names) OK(unlink(run.Path(name).c_str()));
}

}  // namespace rw::testing
