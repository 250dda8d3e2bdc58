// Goal: `rewind forget` on a mounted volume: what the kernel has cached of the past is gone as
// well, and a daemon that is killed meanwhile leaves nothing that a second call does not erase.
// Method: the real daemon and command line; the bytes are looked for in all files of the data root.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/support/daemon_process.h"

namespace rw::testing {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

class ForgetCommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    daemon_ = std::make_unique<DaemonProcess>();
    Run({"create", "v"});
    const auto answer = daemon_->Post("VolumeDriver.Mount", {{"Name", "v"}, {"ID", "id"}});
    mountpoint_ = answer["Mountpoint"].get<std::string>();
  }

  std::string Run(std::vector<std::string> arguments, int exit_code = 0) {
    const RunResult result = daemon_->Command(std::move(arguments));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return exit_code == 0 ? result.out : result.err;
  }

  // Written, synced, read as of then through the mount, and removed.
  stdfs::path WriteAndRemoveSecret(size_t lines) {
    {
      std::ofstream file(mountpoint_ / "secret");
      for (size_t i = 0; i < lines; ++i) file << "a secret that is to be forgotten\n";
    }
    std::ofstream(mountpoint_ / "other") << "what stays\n";
    std::string now = Run({"now", "v"});
    now.resize(now.find('\n'));
    stdfs::path then = mountpoint_ / ".rewind" / now;
    EXPECT_THAT(Contents(then / "secret"), HasSubstr("a secret"));
    stdfs::remove(mountpoint_ / "secret");
    return then;
  }

  static std::string Contents(const stdfs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  }
  static int ErrorOfReading(const stdfs::path& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    char byte = 0;
    const int error = pread(file, &byte, 1, 0) < 0 ? errno : 0;
    close(file);
    return error;
  }

  size_t FilesWithATrace() const {
    size_t traces = 0;
    for (const auto& entry : stdfs::recursive_directory_iterator(daemon_->root())) {
      if (entry.is_regular_file())
        traces += Contents(entry.path()).find("secret that is") != std::string::npos;
    }
    return traces;
  }

  std::unique_ptr<DaemonProcess> daemon_;
  stdfs::path mountpoint_;
};

TEST_F(ForgetCommandTest, TheKernelForgetsToo) {
  const stdfs::path then = WriteAndRemoveSecret(10'000);
  Run({"create", "snapshot", "-o", "snapshot-of=v", "-o", "at=" + then.filename().string()});
  const auto answer = daemon_->Post("VolumeDriver.Mount", {{"Name", "snapshot"}, {"ID", "id"}});
  const stdfs::path snapshot = answer["Mountpoint"].get<std::string>();
  EXPECT_EQ(ErrorOfReading(snapshot / "secret"), 0);
  EXPECT_GT(FilesWithATrace(), 0u);
  EXPECT_THAT(Run({"forget", "v", "/secret"}), HasSubstr("forgot \"/secret\" of v: 1 files"));
  EXPECT_EQ(FilesWithATrace(), 0u);
  EXPECT_EQ(ErrorOfReading(then / "secret"), ENODATA);
  EXPECT_EQ(ErrorOfReading(snapshot / "secret"), ENODATA);
  EXPECT_EQ(Contents(then / "other"), "what stays\n");
  EXPECT_EQ(Contents(mountpoint_ / "other"), "what stays\n");
  Run({"check", "v"});
  daemon_->EndDaemon(SIGKILL);
  EXPECT_EQ(ErrorOfReading(then / "secret"), ENODATA);
  EXPECT_EQ(FilesWithATrace(), 0u);
  std::ofstream(mountpoint_ / "another") << "goes on\n";
  EXPECT_EQ(Contents(mountpoint_ / "another"), "goes on\n");
}

TEST_F(ForgetCommandTest, RefusesInOneLine) {
  std::ofstream(mountpoint_ / "file") << "text";
  EXPECT_THAT(Run({"forget", "v", "/file"}, 1), HasSubstr("still has the file"));
  EXPECT_EQ(Contents(mountpoint_ / "file"), "text");
  EXPECT_THAT(Run({"forget", "v", "/never"}, 1), HasSubstr("no file was at"));
  EXPECT_THAT(Run({"forget", "other", "/file"}, 1), HasSubstr("no such volume"));
  EXPECT_THAT(Run({"forget", "v", "/../file"}, 1), HasSubstr("it contains .."));
  const int file = open((mountpoint_ / "file").c_str(), O_RDWR | O_CLOEXEC);
  stdfs::remove(mountpoint_ / "file");
  EXPECT_THAT(Run({"forget", "v", "/file"}, 1), HasSubstr("open in a program"));
  char text[4];
  EXPECT_EQ(pread(file, text, 4, 0), 4);
  close(file);
}

TEST_F(ForgetCommandTest, AKilledOneCanBeRepeated) {
  const stdfs::path then = WriteAndRemoveSecret(500'000);
  for (int ms : {5, 20, 60}) {
    std::thread other([this] { daemon_->Command({"forget", "v", "/secret"}); });
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    daemon_->EndDaemon(SIGKILL);
    other.join();
    EXPECT_EQ(Contents(then / "other"), "what stays\n");
  }
  // What the kernel has yet to say that it does not know, it says within a while.
  RunResult result;
  for (int i = 0; i < 600; ++i) {
    result = daemon_->Command({"forget", "v", "/secret"});
    if (result.exit_code == 0 || result.err.find("open in a program") == std::string::npos) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(FilesWithATrace(), 0u);
  EXPECT_EQ(ErrorOfReading(then / "secret"), ENODATA);
  Run({"check", "v"});
}

}  // namespace
}  // namespace rw::testing
