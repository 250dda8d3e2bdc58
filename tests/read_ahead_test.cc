// Goal: the kernel reads further ahead on a mount than it would by itself, where it can be told so.
// Method: what /sys says of a real mount's device.
#include "fs/read_ahead.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/mounted_volume.h"

namespace rw {
namespace {

TEST(ReadAheadTest, IsMoreThanTheKernelsOwn) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
  testing::TempDir root;
  const auto store = Store::Open({root.path()});
  CreateRequest request;
  request.name = "volume";
  store->Create(request);
  testing::MountedVolume mounted(*store, "volume");
  struct stat status {};
  ASSERT_EQ(stat(mounted.path().c_str(), &status), 0);
  const std::string path = "/sys/class/bdi/" + std::to_string(major(status.st_dev)) + ":" +
                           std::to_string(minor(status.st_dev)) + "/read_ahead_kb";
  if (access(path.c_str(), W_OK) != 0) GTEST_SKIP() << path << " cannot be written here";
  int kibibytes = 0;
  std::ifstream(path) >> kibibytes;
  EXPECT_EQ(kibibytes, 512);
}

TEST(ReadAheadTest, WhereThereIsNoDeviceToTellNothingHappens) {
  ReadAheadMore("/proc");  // has none
  ReadAheadMore("/no/such/directory");
}

}  // namespace
}  // namespace rw
