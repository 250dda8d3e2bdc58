// Goal: mounts are found by what the kernel says of them, and only rewind's are ever detached.
// Method: lines as the kernel writes them.
#include "plugin/mount_info.h"

#include <gtest/gtest.h>

namespace rw {
namespace {

TEST(MountInfoTest, ReadsTheKernelsLines) {
  std::vector<MountEntry> entries = ParseMounts(
      "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
      "54 27 0:48 / /mnt/with\\040space\\134x rw shared:7 master:2 - fuse rewind:pgdata:3 rw\n"
      "55 27 0:49 /sub /srv rw - fuse.sshfs host:/x rw\n"
      "nonsense\n");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].mountpoint, "/");
  EXPECT_EQ(entries[0].type, "ext4");
  EXPECT_FALSE(entries[0].is_rewind());
  EXPECT_EQ(entries[1].device, "0:48");
  EXPECT_EQ(entries[1].root, "/");
  EXPECT_EQ(entries[1].mountpoint, "/mnt/with space\\x");
  EXPECT_EQ(entries[1].source, "rewind:pgdata:3");
  EXPECT_TRUE(entries[1].is_rewind());
  EXPECT_EQ(entries[2].root, "/sub");
  EXPECT_FALSE(entries[2].is_rewind());
}

TEST(MountInfoTest, FindsTheMountsOfThisProcess) {
  EXPECT_TRUE(FindMountAt("/proc"));
  EXPECT_FALSE(FindMountAt("/proc/self/no-such"));
}

}  // namespace
}  // namespace rw
