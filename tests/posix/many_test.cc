// Goal: very many of anything: entries of a directory, names of a file, bytes that are shared.
//
// Method: the real daemon, so that its memory can be looked at. REWIND_SOAK=1 takes a million
// entries and a hundred thousand names, and prints how long each step took.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "tests/posix/check.h"
#include "tests/support/daemon_process.h"

namespace rw::testing {
namespace {

bool Soak() { return getenv("REWIND_SOAK") != nullptr; }

class ManyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    daemon_ = std::make_unique<DaemonProcess>();
    directory_ = daemon_->directory() / "volume";
    std::filesystem::create_directory(directory_);
    ASSERT_EQ(daemon_->Command({"create", "volume"}).exit_code, 0);
    ASSERT_EQ(daemon_->Command({"mount", "volume", directory_}).exit_code, 0);
  }
  void TearDown() override {
    if (daemon_ == nullptr) return;
    EXPECT_EQ(daemon_->Command({"umount", directory_}).exit_code, 0);
  }

  // Tells how long it took.
  template <typename Work>
  void Step(const char* name, Work work) {
    const auto began = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::cout << name << ": " << took.count() << " s, the daemon has " << ResidentMebibytes()
              << " MiB and has read " << (BytesRead() >> 20) << " MiB" << std::endl;
  }

  uint64_t ResidentMebibytes() const {
    std::ifstream status("/proc/" + std::to_string(daemon_->daemon()) + "/status");
    for (std::string word; status >> word;) {
      uint64_t kibibytes = 0;
      if (word == "VmRSS:" && status >> kibibytes) return kibibytes >> 10;
    }
    return 0;
  }

  // What the daemon has read from files, cached by the kernel or not.
  uint64_t BytesRead() const {
    std::ifstream io("/proc/" + std::to_string(daemon_->daemon()) + "/io");
    std::string word;
    uint64_t bytes = 0;
    io >> word >> bytes;
    return bytes;
  }

  uint64_t HistoryBytes() const {
    const auto status = daemon_->Post("VolumeDriver.Get", {{"Name", "volume"}});
    return status.at("Volume").at("Status").at("history_bytes").get<uint64_t>();
  }

  std::string Path(size_t i) const { return directory_ + "/entry " + std::to_string(i); }

  std::unique_ptr<DaemonProcess> daemon_;
  std::string directory_;
};

TEST_F(ManyTest, EntriesOfADirectory) {
  const size_t count = Soak() ? 1'000'000 : 50'000;
  const uint64_t resident_at_first = ResidentMebibytes();
  Step("create", [&] {
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(mknod(Path(i).c_str(), S_IFREG | 0644, 0), 0) << i;
  });
  Step("list", [&] {
    std::vector<bool> seen(count);
    DIR* dir = opendir(directory_.c_str());
    size_t entries = 0;
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] == '.') continue;
      const size_t i = strtoul(entry->d_name + 6, nullptr, 10);
      ASSERT_LT(i, count);
      ASSERT_FALSE(seen[i]) << "listed twice: " << i;
      seen[i] = true;
      ++entries;
    }
    closedir(dir);
    EXPECT_EQ(entries, count);
  });
  Step("stat", [&] {
    struct stat st;
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(lstat(Path(i).c_str(), &st), 0) << i;
    ASSERT_EQ(lstat(directory_.c_str(), &st), 0);
    EXPECT_EQ(st.st_nlink, 2u);
  });
  Step("remove", [&] {
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(unlink(Path(i).c_str()), 0) << i;
  });
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
  EXPECT_LT(BytesRead(), count * (64 << 10)) << "for each name some blocks of the index at most";
  // What the kernel knows is counted, some ten bytes each; everything else is cached within bounds.
  EXPECT_LT(ResidentMebibytes(), resident_at_first + 400 + count * 256 / (1 << 20));
}

TEST_F(ManyTest, NamesOfAFile) {
  const size_t count = Soak() ? 100'000 : 5'000;
  const std::string first = directory_ + "/first";
  ASSERT_EQ(OpenError(first, O_CREAT | O_WRONLY), 0);
  Step("link", [&] {
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(link(first.c_str(), Path(i).c_str()), 0) << i;
  });
  struct stat st;
  ASSERT_EQ(stat(first.c_str(), &st), 0);
  const ino_t ino = st.st_ino;
  EXPECT_EQ(st.st_nlink, count + 1);
  for (size_t i = 0; i < count; i += 997) {
    ASSERT_EQ(stat(Path(i).c_str(), &st), 0);
    EXPECT_EQ(st.st_ino, ino);
  }
  Step("unlink", [&] {
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(unlink(Path(i).c_str()), 0) << i;
  });
  ASSERT_EQ(stat(first.c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 1u);
}

TEST_F(ManyTest, CopiesAreShared) {
  constexpr size_t kPiece = 1 << 20;
  const size_t pieces = Soak() ? 1024 : 64;
  const Fd from(directory_ + "/from", O_CREAT | O_RDWR);
  const Fd to(directory_ + "/to", O_CREAT | O_RDWR);
  std::string piece(kPiece, '\0');
  const auto fill = [&](size_t i) {
    for (size_t at = 0; at < kPiece; at += 64) piece[at] = static_cast<char>(i + at / 4096);
  };
  for (size_t i = 0; i < pieces; ++i) {
    fill(i);
    ASSERT_EQ(pwrite(from, piece.data(), kPiece, static_cast<off_t>(i * kPiece)),
              static_cast<ssize_t>(kPiece));
  }
  const uint64_t before = HistoryBytes();
  EXPECT_GE(before, pieces * kPiece);
  Step("copy", [&] {
    ASSERT_EQ(copy_file_range(from, nullptr, to, nullptr, pieces * kPiece, 0),
              static_cast<ssize_t>(pieces * kPiece));
  });
  EXPECT_LT(HistoryBytes(), before + 4 * kPiece);
  std::string copied(kPiece, '#');
  for (size_t i = 0; i < pieces; ++i) {
    fill(i);
    ASSERT_EQ(pread(to, copied.data(), kPiece, static_cast<off_t>(i * kPiece)),
              static_cast<ssize_t>(kPiece));
    ASSERT_TRUE(copied == piece) << i;
  }
}

}  // namespace
}  // namespace rw::testing
