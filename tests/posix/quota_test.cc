// Goal: a volume made with a size holds that much and no more; what does not fit is refused whole,
// and everything else goes on.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "metadata/refused.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kBlock = 4096;

class QuotaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    Make("volume", SourceKind::kNone, kSize);
    Mount("volume");
  }

  void Make(const std::string& name, SourceKind kind, uint64_t size) {
    CreateRequest request;
    request.name = name;
    request.size_bytes = size;
    request.source_kind = kind;
    if (kind != SourceKind::kNone) request.source = "volume";
    store_->Create(request);
  }

  void Mount(const std::string& name) {
    mounted_.reset();
    mounted_.emplace(*store_, name);
  }

  std::string Path(const std::string& name) { return mounted_->path() + "/" + name; }

  // 0 or the errno of writing `bytes` bytes to the file.
  int Write(const std::string& name, uint64_t offset, uint64_t bytes, char fill = 'x') {
    const int fd = open(Path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    const std::string data(bytes, fill);
    const ssize_t done = pwrite(fd, data.data(), bytes, static_cast<off_t>(offset));
    const int error = done == static_cast<ssize_t>(bytes) ? 0 : errno;
    close(fd);
    return error;
  }

  uint64_t FreeBytes() {
    struct statvfs st;
    EXPECT_EQ(statvfs(mounted_->path().c_str(), &st), 0);
    EXPECT_EQ(st.f_blocks * st.f_frsize, kSize);
    return st.f_bavail * st.f_frsize;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
};

TEST_F(QuotaTest, HoldsThatMuchAndNoMore) {
  EXPECT_EQ(FreeBytes(), kSize);
  for (uint64_t at = 0; at < kSize; at += kBlock) ASSERT_EQ(Write("file", at, kBlock), 0) << at;
  EXPECT_EQ(FreeBytes(), 0u);
  EXPECT_EQ(Write("file", kSize, 1), ENOSPC);
  EXPECT_EQ(Write("other", 0, 1), ENOSPC);
  EXPECT_EQ(std::filesystem::file_size(Path("file")), kSize);
  EXPECT_EQ(std::filesystem::file_size(Path("other")), 0u) << "it was made, and is empty";
  EXPECT_EQ(Write("file", 12'345, 10 * kBlock, 'y'), 0) << "rewriting goes on";
  ASSERT_EQ(truncate(Path("file").c_str(), kSize - 10), 0);
  EXPECT_EQ(Write("other", 0, 11), ENOSPC);
  EXPECT_EQ(Write("other", 0, 10), 0);
}

TEST_F(QuotaTest, WhatIsRefusedIsRefusedWhole) {
  ASSERT_EQ(Write("file", 0, kSize - kBlock), 0);
  const Instant before = store_->OpenVolume("volume")->last_instant();
  EXPECT_EQ(Write("file", kSize - 2 * kBlock, 3 * kBlock, 'z'), ENOSPC);
  const auto volume = store_->OpenVolume("volume");
  EXPECT_EQ(volume->last_instant(), before);
  EXPECT_EQ(std::filesystem::file_size(Path("file")), kSize - kBlock);
  Mount("volume");  // and what the kernel had cached of it is gone
  std::string bytes(kSize, '#');
  const int fd = open(Path("file").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(read(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(kSize - kBlock));
  close(fd);
  EXPECT_EQ(bytes.substr(0, kSize - kBlock), std::string(kSize - kBlock, 'x'));
}

TEST_F(QuotaTest, HolesAndHistoryDoNotCount) {
  ASSERT_EQ(Write("sparse", uint64_t{1} << 40, 1), 0);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(Write("file", 0, kSize / 2), 0);
  EXPECT_EQ(unlink(Path("file").c_str()), 0);
  EXPECT_EQ(Write("other", 0, kSize / 2), 0);
  EXPECT_GE(FreeBytes(), kSize / 2 - kBlock);
}

// The kernel says that nobody has a file any more a moment after it was unlinked, and requests that
// come meanwhile may overtake that.
TEST_F(QuotaTest, WhatWasRemovedMakesRoomAtOnce) {
  ASSERT_EQ(Write("kept open", 0, kBlock), 0);
  const int kept = open(Path("kept open").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(kept, 0);
  ASSERT_EQ(unlink(Path("kept open").c_str()), 0);
  const std::string most(kSize - kBlock, 'x');
  for (int round = 0; round < 300; ++round) {
    const std::string name = round % 2 == 0 ? "even" : "odd";
    const int fd = open(Path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (round > 0) {
      ASSERT_EQ(unlink(Path(round % 2 == 0 ? "odd" : "even").c_str()), 0);
    }
    ASSERT_EQ(write(fd, most.data(), most.size()), static_cast<ssize_t>(most.size())) << round;
    EXPECT_EQ(write(fd, most.data(), kBlock), -1) << "what is still open has its place";
    EXPECT_EQ(errno, ENOSPC);
    close(fd);
  }
  close(kept);
}

TEST_F(QuotaTest, CopiesThatShareCount) {
  ASSERT_EQ(Write("file", 0, kSize / 2), 0);
  const int from = open(Path("file").c_str(), O_RDONLY | O_CLOEXEC);
  const int to = open(Path("copy").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  ASSERT_EQ(copy_file_range(from, nullptr, to, nullptr, kSize / 2, 0),
            static_cast<ssize_t>(kSize / 2));
  off_t start = 0;
  EXPECT_EQ(copy_file_range(from, &start, to, nullptr, kSize / 2, 0), -1);
  EXPECT_EQ(errno, ENOSPC);
  close(from);
  close(to);
}

TEST_F(QuotaTest, StoresIntoAMappingThatDoNotFitAreReported) {
  ASSERT_EQ(Write("file", 0, kSize), 0);
  const int fd = open(Path("sparse").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  ASSERT_EQ(ftruncate(fd, kBlock), 0);
  void* mapping = mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  static_cast<char*>(mapping)[0] = 'x';
  EXPECT_EQ(msync(mapping, kBlock, MS_SYNC), -1);
  EXPECT_EQ(errno, ENOSPC);
  munmap(mapping, kBlock);
  close(fd);
}

TEST_F(QuotaTest, ACloneHasItsOwn) {
  ASSERT_EQ(Write("file", 0, kSize), 0);
  try {
    Make("small", SourceKind::kCloneOf, kSize / 2);
    FAIL() << "a size smaller than the contents was accepted";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL);
  }
  EXPECT_FALSE(store_->Find("small").has_value());
  Make("large", SourceKind::kCloneOf, 2 * kSize);
  Mount("large");
  EXPECT_EQ(Write("more", 0, kSize), 0);
  EXPECT_EQ(Write("more", kSize, 1), ENOSPC);
}

TEST_F(QuotaTest, IsRememberedAcrossARestart) {
  mounted_.reset();
  store_.reset();
  store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
  EXPECT_EQ(store_->Find("volume")->size_bytes, kSize);
  Mount("volume");
  EXPECT_EQ(Write("file", 0, kSize), 0);
  EXPECT_EQ(Write("file", kSize, 1), ENOSPC);
}

}  // namespace
}  // namespace rw::testing
