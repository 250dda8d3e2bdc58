// Goal: the socket answers at once when the daemon starts, whatever its data are like: the engine
// gives up on a plugin that does not listen within seconds, and forgets its volumes.
//
// Method: a data root on a disk that does not answer: a volume of another daemon, which is stopped.
// So the start takes as long as the test wants, and no clock is needed. And a data root whose
// volume has lost its journal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <map>
#include <string>
#include <thread>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/unix_socket.h"
#include "tests/support/daemon_process.h"
#include "tests/support/process.h"

namespace rw {
namespace {

using Json = nlohmann::json;
namespace stdfs = std::filesystem;

// The daemon that is the disk; goes on in any case, or nobody could end what waits for it.
class StoppedDisk {
 public:
  explicit StoppedDisk(pid_t daemon) : daemon_(daemon) { kill(daemon_, SIGSTOP); }
  ~StoppedDisk() { GoOn(); }
  void GoOn() const { kill(daemon_, SIGCONT); }

 private:
  const pid_t daemon_;
};

TEST(ReadinessTest, AnswersWhileItsDiskDoesNot) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  const std::map<std::string, std::string> patient = {{"REWIND_WATCHDOG_SECONDS", "100000"}};
  const testing::DaemonProcess disk(patient);
  disk.Post("VolumeDriver.Create", {{"Name", "disk"}, {"Opts", nullptr}});
  const stdfs::path mountpoint =
      disk.Post("VolumeDriver.Mount", {{"Name", "disk"}, {"ID", "c"}})["Mountpoint"]
          .get<std::string>();
  const testing::TempDir dir;
  const stdfs::path socket = dir.path() / "socket";
  pid_t server = -1;
  {
    const StoppedDisk stopped(disk.daemon());
    server = testing::Start({REWIND_BINARY, "serve", "--root", mountpoint / "root", "--socket",
                             socket, "--mounts", dir.path() / "mounts"},
                            dir.path() / "log");
    for (int fd = -1; fd < 0; fd = ConnectTo(socket)) {
      ASSERT_EQ(waitpid(server, nullptr, WNOHANG), 0) << "it ended";
      if (fd >= 0) close(fd);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    // More than there are threads wait for the volumes.
    std::vector<std::future<Json>> waiting;
    for (int i = 0; i < 100; ++i) {
      waiting.push_back(std::async(std::launch::async, [&socket] {
        return Ask(socket, "VolumeDriver.List", Json::object());
      }));
    }
    EXPECT_TRUE(Ask(socket, "Plugin.Activate", Json::object()).contains("Implements"));
    EXPECT_EQ(Ask(socket, "VolumeDriver.Capabilities", Json::object())["Capabilities"]["Scope"],
              "local");
    for (auto& one : waiting) {
      EXPECT_EQ(one.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
    }
    stopped.GoOn();
    for (auto& one : waiting) EXPECT_EQ(one.get()["Volumes"], Json::array());
  }
  kill(server, SIGTERM);
  EXPECT_EQ(testing::WaitForExit(server, 30), 0);
}

TEST(ReadinessTest, AnswersForTheOthersWhenOneVolumeIsDamaged) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  testing::DaemonProcess daemon;
  for (const char* name : {"hurt", "sound"}) {
    daemon.Post("VolumeDriver.Create", {{"Name", name}, {"Opts", nullptr}});
    const stdfs::path mountpoint =
        daemon.Post("VolumeDriver.Mount", {{"Name", name}, {"ID", "c"}})["Mountpoint"]
            .get<std::string>();
    std::ofstream(mountpoint / name) << name;
    daemon.Post("VolumeDriver.Unmount", {{"Name", name}, {"ID", "c"}});
  }
  daemon.Kill();
  // The first timeline is that of the first volume: its records name what was made in it.
  int hurt = 0;
  for (const auto& entry : stdfs::recursive_directory_iterator(daemon.root())) {
    if (!entry.is_regular_file() || entry.path().extension() == ".sst") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    if (bytes.find("hurt") == bytes.npos || bytes.find("sound") != bytes.npos) continue;
    std::ofstream(entry.path(), std::ios::binary) << std::string(bytes.size(), 'x');
    ++hurt;
  }
  ASSERT_GT(hurt, 0);
  daemon.Restart();
  const Json list = daemon.Post("VolumeDriver.List", Json::object());
  EXPECT_EQ(list["Volumes"].size(), 2u) << "no volume vanishes: " << list;
  const stdfs::path mountpoint =
      daemon.Post("VolumeDriver.Mount", {{"Name", "sound"}, {"ID", "c"}})["Mountpoint"]
          .get<std::string>();
  EXPECT_EQ(stdfs::file_size(mountpoint / "sound"), 5u);
}

}  // namespace
}  // namespace rw
