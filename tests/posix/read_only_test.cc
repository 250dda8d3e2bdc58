// Goal: a snapshot volume, and a volume looked at as it was, can be read like any filesystem, and
// every way to change them is refused with EROFS, whoever asks.
//
// Method: a volume with one thing of every kind; its snapshot volume, its past under `.rewind` and
// a mount of an earlier instant are read and compared; then each call of a table is tried.
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <memory>
#include <optional>

#include "tests/posix/path_calls.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

class ReadOnlyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    umask(0);
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "volume";
    request.mode = 0777;
    store_->Create(request);
    head_.emplace(*store_, "volume");
    CheckRun run(head_->path());
    Fill(run);
    ASSERT_EQ(Lines(run.failures()), "");
    at_ = store_->Now();
    request.name = "snapshot";
    request.mode.reset();
    request.source = "volume";
    request.source_kind = SourceKind::kSnapshotOf;
    request.at = at_;
    store_->Create(request);
  }

  static void Fill(CheckRun& run) {
    run.MakeFile("file", std::string(300'000, 'd'), 0666);
    run.MakeFile("from", "data", 0666);
    run.MakeFile("program", "#!/bin/sh\nexit 0\n", 0755);
    run.MakeDirectory("directory", 0777);
    run.MakeDirectory("empty", 0777);
    run.MakeFile("directory/inside", "inside", 0666);
    OK(mkfifo(run.Path("fifo").c_str(), 0666));
    OK(mknod(run.Path("device").c_str(), S_IFCHR | 0666, 0x103));
    OK(symlink("file", run.Path("symlink").c_str()));
    OK(link(run.Path("file").c_str(), run.Path("link").c_str()));
    OK(setxattr(run.Path("file").c_str(), "user.a", "value", 5, 0));
  }

  // The existing paths that a call which needs one is tried with.
  static std::vector<std::string> Targets(const PathCall& call) {
    if (call.makes) return {"new", "directory/new"};
    const std::string name = call.name;
    if (name == "truncate" || name.starts_with("open")) return {"file", "symlink"};
    if (name == "setxattr") return {"file", "directory"};
    if (name == "unlink" || name == "link(from)") return {"file", "fifo", "symlink"};
    return {"file", "directory", "fifo", "symlink"};
  }

  // All changes by path, as whoever runs it.
  static void ExpectNoChangeByPath(CheckRun& run) {
    for (const PathCall& call : PathCalls()) {
      if (!call.changes) continue;
      for (const std::string& target : Targets(call)) {
        const int error = ErrorOf(call.call(run, run.Path(target)));
        if (error == EROFS) continue;
        run.Fail(__FILE__, __LINE__, call.name + (" of " + target) + ": " + ErrorName(error));
      }
    }
    FAILS(EROFS, rmdir(run.Path("empty").c_str()));
    FAILS(EROFS, rename(run.Path("from").c_str(), run.Path("file").c_str()));
    FAILS(EROFS, removexattr(run.Path("file").c_str(), "user.a"));
    FAILS(EROFS, access(run.Path("file").c_str(), W_OK));
    SAME(OpenError(run.directory(), O_TMPFILE | O_RDWR), EROFS);
    SAME(OpenError(run.Path("new"), O_CREAT | O_RDONLY), EROFS);
    // What needs no change is granted, as everywhere.
    FAILS(EEXIST, mkdir(run.Path("directory").c_str(), 0755));
    SAME(OpenError(run.Path("file"), O_CREAT | O_RDONLY), 0);
    SAME(OpenError(run.Path("fifo"), O_RDWR | O_NONBLOCK), 0);
  }

  static void ExpectNoChangeByDescriptor(CheckRun& run) {
    const Fd fd(run.Path("file"), O_RDONLY);
    FAILS(EROFS, fchmod(fd, 0600));
    FAILS(EROFS, fchown(fd, 1, 1));
    FAILS(EROFS, futimens(fd, nullptr));
    FAILS(EROFS, fsetxattr(fd, "user.b", "x", 1, 0));
    FAILS(EBADF, fallocate(fd, 0, 0, 10));
    OK(fsync(fd));
    void* mapping = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    SAME(static_cast<volatile char*>(mapping)[0], 'd');
    munmap(mapping, 4096);
  }

  static void ExpectReadOnly(const std::string& path) {
    CheckRun run(path);
    ExpectNoChangeByPath(run);
    ExpectNoChangeByDescriptor(run);
    run.As(kAlice, [&] { ExpectNoChangeByPath(run); });
    THAT(run.Contents(run.Path("symlink")) == std::string(300'000, 'd'));
    EXPECT_EQ(Lines(run.failures()), "");
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> head_;
  Instant at_{};
};

TEST_F(ReadOnlyTest, ASnapshotVolume) {
  const CollectedTree before = CollectTree(head_->path());
  const MountedVolume snapshot(*store_, "snapshot");
  struct statvfs st;
  ASSERT_EQ(statvfs(snapshot.path().c_str(), &st), 0);
  EXPECT_NE(st.f_flag & ST_RDONLY, 0u);
  ExpectReadOnly(snapshot.path());
  const CollectedTree after = CollectTree(snapshot.path());
  EXPECT_EQ(after.problems, std::vector<std::string>());
  EXPECT_EQ(Difference(before.tree, after.tree), "");
}

TEST_F(ReadOnlyTest, AMountOfAnInstant) {
  const MountedVolume past(*store_, "volume", at_);
  ASSERT_EQ(unlink((head_->path() + "/file").c_str()), 0);
  ExpectReadOnly(past.path());
}

// Here the mount itself can be written to, and it is the daemon that refuses.
TEST_F(ReadOnlyTest, ThePastInsideAVolume) {
  const std::string past = head_->path() + "/.rewind/" + FormatInstant(at_);
  ASSERT_EQ(unlink((head_->path() + "/file").c_str()), 0);
  CheckRun run(past);
  for (const PathCall& call : PathCalls()) {
    // Opening asks nothing of the daemon: the write is refused.
    if (!call.changes || call.name == std::string("open(O_WRONLY)")) continue;
    for (const std::string& target : Targets(call)) {
      const int error = ErrorOf(call.call(run, run.Path(target)));
      if (error != EROFS)
        run.Fail(__FILE__, __LINE__, call.name + (" of " + target) + ": " + ErrorName(error));
    }
  }
  FAILS(EROFS, rmdir(run.Path("empty").c_str()));
  FAILS(EROFS, rename(run.Path("from").c_str(), (head_->path() + "/from").c_str()));
  FAILS(EROFS, rename((head_->path() + "/link").c_str(), run.Path("x").c_str()));
  {
    const Fd fd(run.Path("file"), O_RDWR);
    FAILS(EROFS, pwrite(fd, "x", 1, 100));
    FAILS(EROFS, fallocate(fd, 0, 0, 10));
    FAILS(EROFS, ftruncate(fd, 1));
  }
  // The kernel lets a store into a mapping happen in its cache, and learns when it writes it back.
  {
    const Fd fd(run.Path("directory/inside"), O_RDWR);
    void* mapping = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    static_cast<volatile char*>(mapping)[0] = 'x';
    FAILS(EROFS, msync(mapping, 4096, MS_SYNC));
    munmap(mapping, 4096);
    const std::string path = run.Path("directory/inside");
    for (int i = 0; i < 10'000 && run.Contents(path) != "inside"; ++i) usleep(1000);
    SAME(run.Contents(path), "inside");
  }
  FAILS(EXDEV, link(run.Path("from").c_str(), (head_->path() + "/x").c_str()));
  SAME(OpenError(past, O_TMPFILE | O_RDWR), EROFS);
  THAT(run.Contents(run.Path("symlink")) == std::string(300'000, 'd'));
  EXPECT_EQ(Lines(run.failures()), "");
}

}  // namespace
}  // namespace rw::testing
