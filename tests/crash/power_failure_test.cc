// Goal: after a power failure at any moment, what a completed fsync covers is there, what else is
// there is a prefix of the operations, and the history before is what it was.
//
// Method: random operations, snapshots, clones, rollbacks, marks, collections and restarts on a
// disk that records everything that journals and index ask of it, beside reference models. For many
// points of the record, and many ways in which a disk may lose what was not synced
// (tests/support/disk_model.h), the disk is built, opened by the real store and compared with the
// models; it is then written to, closed and looked at again; and the power fails once more while it
// recovers. REWIND_SEED repeats one seed, REWIND_OPS makes the recorded run longer, REWIND_STATES
// says how many disks are tried for each seed.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <iostream>

#include "tests/support/disk_model.h"
#include "tests/support/power_world.h"

namespace rw::testing {
namespace {

constexpr uint64_t kOperations = 300;
constexpr uint64_t kStates = 250;

PowerProfile ProfileOf(uint64_t seed) {
  PowerProfile profile;
  profile.operations.max_inodes = 25;
  profile.operations.max_write = 20'000;
  profile.operations.max_xattr = 1000;
  profile.collect = seed % 2 == 0;
  if (profile.collect) {
    profile.retention_seconds = 40;
    profile.operations.percent_contents = 50;
  }
  if (seed % 4 == 0) profile.max_chain = 1;
  return profile;
}

// `lose`: syncs of which this is true do nothing.
std::string Record(PowerWorld& world, uint64_t seed, uint64_t operations) {
  Random random(seed + 1000);
  std::string problem = world.Open();
  if (problem.empty()) problem = world.AddVolume("first");
  for (uint64_t i = 0; i < operations && problem.empty(); ++i)
    problem = random.OneIn(12) ? world.Event() : world.Operate();
  world.Close();
  return problem;
}

class PowerFailureTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
  static void TearDownTestSuite() { spdlog::set_level(spdlog::level::info); }
};

TEST_P(PowerFailureTest, LeavesAPrefixWithAllThatWasSynced) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", GetParam());
  std::cout << "seed " << seed << std::endl;
  PowerWorld world(seed, ProfileOf(seed));
  ASSERT_EQ(Record(world, seed, NumberFromEnvironment("REWIND_OPS", kOperations)), "");
  Random random(seed + 2000);
  DiskModel disk(world.log());
  std::vector<size_t> points;
  for (uint64_t i = NumberFromEnvironment("REWIND_STATES", kStates); i > 0; --i)
    points.push_back(random.Below(world.log().size() + 1));
  std::sort(points.begin(), points.end());
  size_t again = 0;
  for (const size_t point : points) {
    disk.AdvanceTo(point);
    const auto kind = static_cast<CrashKind>(random.Below(kCrashKinds));
    SCOPED_TRACE("seed " + std::to_string(seed) + ", after " + std::to_string(point) +
                 " events, there is " + NameOf(kind));
    const DiskImage image = disk.Fail(kind, random);
    ASSERT_EQ(world.Check(point, image, random), "");
    if (!random.OneIn(8)) continue;
    const auto recovery = world.RecordRecovery(point, image);
    DiskModel second(*recovery);
    second.AdvanceTo(random.Below(recovery->size() + 1));
    const auto second_kind = static_cast<CrashKind>(random.Below(kCrashKinds));
    SCOPED_TRACE("and again while it recovers, there is " + NameOf(second_kind));
    ASSERT_EQ(world.Check(point, second.Fail(second_kind, random), random), "");
    ++again;
  }
  std::cout << world.log().size() << " events, " << world.states() << " disks, of which " << again
            << " after a second failure, " << world.views() << " views" << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerFailureTest, ::testing::Range<uint64_t>(1, 9));

}  // namespace
}  // namespace rw::testing
