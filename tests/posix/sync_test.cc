// Goal: every way in which a program can ask for durability reaches the disk before it is answered.
//
// Method: a mounted volume over a file layer that counts syncs of the volume's journal; each way
// makes one sync or more, and what promises nothing makes none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"
#include "tests/support/watched_files.h"

namespace rw::testing {
namespace {

class SyncTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds, &files_});
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    mounted_ = std::make_unique<MountedVolume>(*store_, "volume");
    file_ = mounted_->path() + "/file";
    fd_ = Open(O_CREAT | O_RDWR);
    Write(fd_);
  }
  void TearDown() override {
    if (fd_ >= 0) close(fd_);
  }

  int Open(int flags) { return open(file_.c_str(), flags | O_CLOEXEC, 0644); }
  static void Write(int fd) { ASSERT_EQ(pwrite(fd, "data", 4, 0), 4); }

  int SyncsDuring(const std::function<void()>& work) {
    const int before = files_.SyncsOf("/journal/1/");
    work();
    return files_.SyncsOf("/journal/1/") - before;
  }

  TempDir dir_;
  WatchedFiles files_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<MountedVolume> mounted_;
  std::string file_;
  int fd_ = -1;
};

TEST_F(SyncTest, FsyncOfAnythingOfTheVolume) {
  EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(fsync(fd_), 0); }), 1);
  Write(fd_);
  EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(fdatasync(fd_), 0); }), 1);
  Write(fd_);
  const int directory = open(mounted_->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(fsync(directory), 0); }), 1);
  ASSERT_EQ(mkdir((mounted_->path() + "/new").c_str(), 0755), 0);
  EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(fsync(directory), 0); }), 1);
  close(directory);
  EXPECT_EQ(SyncsDuring([&] { ASSERT_EQ(fsync(fd_), 0); }), 0) << "nothing new";
}

TEST_F(SyncTest, EachWriteOfAFileOpenedForIt) {
  for (const int flag : {O_SYNC, O_DSYNC}) {
    const int fd = Open(O_RDWR | flag);
    EXPECT_GE(SyncsDuring([&] { Write(fd); }), 1);
    close(fd);
  }
  char data[] = "data";
  const iovec part{data, 4};
  for (const int flag : {RWF_SYNC, RWF_DSYNC}) {
    EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(pwritev2(fd_, &part, 1, 0, flag), 4); }), 1);
  }
}

TEST_F(SyncTest, MsyncOfAMapping) {
  ASSERT_EQ(ftruncate(fd_, 8192), 0);
  void* mapping = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  std::memset(mapping, 'x', 8192);
  const Instant before = store_->Now();
  EXPECT_GE(SyncsDuring([&] { ASSERT_EQ(msync(mapping, 8192, MS_SYNC), 0); }), 1);
  EXPECT_GT(store_->OpenVolume("volume")->last_instant(), before) << "the stores came, too";
  munmap(mapping, 8192);
}

TEST_F(SyncTest, WhatPromisesNothingCostsNothing) {
  EXPECT_EQ(SyncsDuring([&] { Write(fd_); }), 0);
  EXPECT_EQ(SyncsDuring([&] { close(Open(O_RDWR)); }), 0);
  EXPECT_EQ(SyncsDuring([&] { unlink(file_.c_str()); }), 0);
}

TEST_F(SyncTest, UnmountingIsASync) {
  EXPECT_GE(SyncsDuring([&] {
              close(std::exchange(fd_, -1));
              mounted_.reset();
            }),
            1);
}

// A sync that failed is never taken for one that was done.
TEST_F(SyncTest, AFailureIsToldToTheProgram) {
  files_.FailSyncsOf("/journal/1/");
  EXPECT_EQ(fsync(fd_), -1);
  EXPECT_EQ(errno, EIO);
  const int fd = Open(O_RDWR | O_SYNC);
  EXPECT_EQ(pwrite(fd, "data", 4, 0), -1);
  EXPECT_EQ(errno, EIO);
  close(fd);
  files_.FailSyncsOf("");
  EXPECT_EQ(fsync(fd_), -1) << "what the failure lost is not known";
}

}  // namespace
}  // namespace rw::testing
