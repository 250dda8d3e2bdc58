// Goal: programs cannot tell a volume from a local filesystem.
//
// Method: the checks of this directory (check.h), which say what Linux promises, on a plain
// directory of the machine, so that the checks themselves are right; on a new volume; on a clone of
// a volume that has contents; and from two processes at once. Whoever runs them is root and becomes
// other users where that matters.
#include <gtest/gtest.h>
#include <sys/vfs.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "tests/posix/check.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

class PosixTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  }

  void Create(const std::string& name, SourceKind kind, const std::string& source) {
    CreateRequest request;
    request.name = name;
    request.source_kind = kind;
    request.source = source;
    if (kind == SourceKind::kNone) request.mode = 0755;
    store_->Create(request);
  }

  const std::string& NewVolume() {
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    Create("volume", SourceKind::kNone, "");
    mounted_.emplace(*store_, "volume");
    return path_ = mounted_->path();
  }

  // The original keeps names that the checks use, so that the clone inherits and replaces them.
  const std::string& CloneWithContents() {
    NewVolume();
    std::filesystem::create_directories(path_ + "/a/b/c");
    for (int i = 0; i < 100; ++i) Fd(path_ + "/a/" + std::to_string(i), O_CREAT | O_WRONLY);
    EXPECT_EQ(Lines(RunArea(GetParam(), path_)), "");
    EXPECT_EQ(rename((path_ + "/a").c_str(), (path_ + "/z").c_str()), 0);
    mounted_.reset();
    Create("clone", SourceKind::kCloneOf, "volume");
    mounted_.emplace(*store_, "clone");
    return path_ = mounted_->path();
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
  std::string path_;
};

TEST_P(PosixTest, OnAPlainDirectory) {
  TempDir plain;
  ASSERT_EQ(chmod(plain.path().c_str(), 0755), 0);
  struct statfs st;
  ASSERT_EQ(statfs(plain.path().c_str(), &st), 0);
  std::cout << "filesystem type 0x" << std::hex << st.f_type << std::dec << "\n";
  EXPECT_EQ(Lines(RunArea(GetParam(), plain.path())), "");
}

TEST_P(PosixTest, OnANewVolume) {
  EXPECT_EQ(Lines(RunArea(GetParam(), NewVolume())), "");
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST_P(PosixTest, OnACloneWithContents) {
  EXPECT_EQ(Lines(RunArea(GetParam(), CloneWithContents())), "");
  EXPECT_TRUE(std::filesystem::exists(path_ + "/z/99"));
}

TEST_P(PosixTest, FromTwoProcessesAtOnce) {
#ifdef __SANITIZE_ADDRESS__
  // gcc 12's may be holding a lock of its allocator in another thread while the process forks.
  GTEST_SKIP() << "AddressSanitizer does not allocate in what was forked from threads";
#endif
  NewVolume();
  const std::vector<std::string> directories = {path_ + "/one", path_ + "/two"};
  for (const std::string& directory : directories) std::filesystem::create_directory(directory);
  const Failures failures = RunInProcesses(
      directories, [](const std::string& directory) { return RunArea(GetParam(), directory); });
  EXPECT_EQ(Lines(failures), "");
}

INSTANTIATE_TEST_SUITE_P(Areas, PosixTest, ::testing::ValuesIn(AllAreas()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace rw::testing
