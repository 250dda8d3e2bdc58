// What a monitoring system sees.
#include "plugin/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "fs/volume.h"
#include "plugin/volumes.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::HasSubstr;

// Goal: figures are those of the volumes, and tell when history had to go before its time. Method:
// a reserve that no disk has.
TEST(MetricsTest, TellTheVolumesFiguresAndPressure) {
  testing::TempDir temp;
  testing::ManualClock clock;
  StoreOptions options(temp.path() / "root", clock.AsFunction());
  options.collector.background = false;
  options.collector.reserve_bytes = 0;
  auto store = Store::Open(options);
  CreateRequest request;
  request.name = "calm";
  store->Create(request);
  const auto fill = [&] {
    const auto volume = store->OpenVolume("calm");
    const Ino ino = volume->Create({}, kRootIno, std::to_string(clock.now()), S_IFREG | 0644).ino;
    volume->Write({}, ino, 0, std::string(12345, 'x'), false);
  };
  fill();
  store->Collect();
  {
    Volumes volumes(*store, {temp.path() / "mounts"});
    const std::string text = MetricsText(volumes);
    EXPECT_THAT(text, HasSubstr("# TYPE rewind_volume_live_bytes gauge\n"));
    EXPECT_THAT(text, HasSubstr("rewind_volume_live_bytes{volume=\"calm\"} 12345\n"));
    EXPECT_THAT(text, HasSubstr("rewind_volume_pressure{volume=\"calm\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("rewind_volume_history_first_seconds{volume=\"calm\"} 1700000000"));
    EXPECT_THAT(text, HasSubstr("rewind_volume_holders{volume=\"calm\"} 0\n"));
  }
  store.reset();
  options.collector.reserve_bytes = uint64_t{1} << 60;
  store = Store::Open(options);
  clock.Forward(60 * testing::ManualClock::kSecond);
  fill();
  store->Collect();
  Volumes volumes(*store, {temp.path() / "mounts"});
  EXPECT_THAT(MetricsText(volumes), HasSubstr("rewind_volume_pressure{volume=\"calm\"} 1\n"));
}

}  // namespace
}  // namespace rw
