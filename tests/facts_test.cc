// Goal: what is told about a volume is complete, and only what applies to it is told.
// Method: records made by hand.
#include "plugin/facts.h"

#include <gtest/gtest.h>

namespace rw {
namespace {

TEST(FactsTest, SizesHaveThreeDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(10 * 1024), "10 KiB");
  EXPECT_EQ(HumanBytes(1023 * 1024), "1.0 MiB");
  EXPECT_EQ(HumanBytes(uint64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "16 EiB");
}

TEST(FactsTest, AnOrdinaryVolumeTellsNothingOfSources) {
  VolumeFacts facts;
  facts.record.name = "v";
  facts.record.bindings = {{Instant{1}, 1}};
  nlohmann::json json = BriefFacts(facts);
  EXPECT_EQ(json["role"], "volume");
  EXPECT_EQ(json["writable"], true);
  EXPECT_EQ(json["mounted_by"], nlohmann::json::array());
  for (const char* key : {"source", "source_at", "shows", "rolled_back_to", "mountpoint"}) {
    EXPECT_FALSE(json.contains(key)) << key;
  }
}

TEST(FactsTest, WhereAVolumeComesFromIsTold) {
  VolumeFacts facts;
  facts.record.role = Role::kSnapshot;
  facts.record.source = "pgdata";
  facts.record.fixed_at = Instant{5};
  facts.record.bindings = {{Instant{1}, 1}, {Instant{7}, 2}};
  facts.record.rolled_back_to = Instant{3};
  facts.mountpoint = "/m/1";
  facts.holders = {{"3f2a", std::nullopt}, {"cli:/mnt", Instant{2}}};
  nlohmann::json json = BriefFacts(facts);
  EXPECT_EQ(json["source"], "pgdata");
  EXPECT_EQ(json["shows"], "1970-01-01T00:00:00.000000005Z");
  EXPECT_EQ(json["writable"], false);
  EXPECT_EQ(json["rolled_back_to"], "1970-01-01T00:00:00.000000003Z");
  EXPECT_EQ(json["rolled_back_at"], "1970-01-01T00:00:00.000000007Z");
  EXPECT_EQ(json["mountpoint"], "/m/1");
  EXPECT_EQ(json["mounted_by"][0], "3f2a");
  EXPECT_EQ(json["mounted_by"][1], "cli:/mnt at 1970-01-01T00:00:00.000000002Z");
}

TEST(FactsTest, HistoryAndSizesAreToldInNumbersAndWords) {
  VolumeFacts facts;
  facts.record.bindings = {{Instant{1}, 1}};
  VolumeStatus status;
  status.history_first = Instant{1};
  status.history_last = Instant{9};
  status.history_bytes = 2048;
  status.live_bytes = 10;
  status.live_inodes = 3;
  nlohmann::json json = AllFacts(facts, status);
  EXPECT_EQ(json["history_from"], "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(json["history_to"], "1970-01-01T00:00:00.000000009Z");
  EXPECT_EQ(json["history_bytes"], 2048);
  EXPECT_EQ(json["history_size"], "2.0 KiB");
  EXPECT_EQ(json["live_size"], "10 B");
  EXPECT_EQ(json["live_inodes"], 3);
}

TEST(FactsTest, DurationsAreToldInTheirTwoLargestUnits) {
  constexpr uint64_t kSecond = 1'000'000'000;
  EXPECT_EQ(HumanDuration(0), "0s");
  EXPECT_EQ(HumanDuration(kSecond - 1), "0s");
  EXPECT_EQ(HumanDuration(59 * kSecond + 999'999'999), "59s");
  EXPECT_EQ(HumanDuration(3599 * kSecond), "59m59s");
  EXPECT_EQ(HumanDuration(3600 * kSecond + 59 * kSecond), "1h");
  EXPECT_EQ(HumanDuration((3 * 86400 + 4 * 3600 + 59 * 60) * kSecond), "3d4h");
  EXPECT_EQ(HumanDuration(UINT64_MAX), "213503d23h");
}

TEST(FactsTest, RetentionIsToldOfWhatCanBeWritten) {
  VolumeFacts facts;
  facts.record.bindings = {{Instant{1}, 1}};
  VolumeStatus status;
  status.policy = RetentionPolicy::Parse({{"history-limit", "50G"}});
  status.points = 12;
  status.pins = 2;
  nlohmann::json json = AllFacts(facts, status);
  EXPECT_EQ(json["retention"], "1d");
  EXPECT_EQ(json["keep"], "hourly:7d,daily:60d");
  EXPECT_EQ(json["history_limit"], "50G");
  EXPECT_EQ(json["trash"], "1d");
  EXPECT_EQ(json["points"], 12);
  EXPECT_EQ(json["pins"], 2);
  EXPECT_EQ(json["write_rate"], "0 B/s");
  EXPECT_FALSE(json.contains("fits") || json.contains("pressure"));

  status.write_bytes_per_second = 2 << 20;
  status.fits_ns = 90'061'000'000'000;
  status.pressure = "the disk had less free than its reserve";
  json = AllFacts(facts, status);
  EXPECT_EQ(json["write_rate"], "2.0 MiB/s");
  EXPECT_EQ(json["write_bytes_per_second"], 2 << 20);
  EXPECT_EQ(json["fits"], "1d1h");
  EXPECT_EQ(json["fits_seconds"], 90'061);
  EXPECT_EQ(json["pressure"], "the disk had less free than its reserve");

  facts.record.fixed_at = Instant{5};
  json = AllFacts(facts, status);
  for (const char* key : {"retention", "keep", "trash", "points", "write_rate", "fits"}) {
    EXPECT_FALSE(json.contains(key)) << key;
  }
}

TEST(FactsTest, APinTellsItsAgeAndWhatItHolds) {
  const Pin pin{Pin::Kind::kClone, "copy", Instant{5}, Instant{1'000'000'000}, 4096};
  nlohmann::json json = PinFacts(pin, Instant{91'000'000'000});
  EXPECT_EQ(json["kind"], "clone");
  EXPECT_EQ(json["name"], "copy");
  EXPECT_EQ(json["at"], "1970-01-01T00:00:00.000000005Z");
  EXPECT_EQ(json["age"], "1m30s");
  EXPECT_EQ(json["bytes"], 4096);
  EXPECT_EQ(json["size"], "4.0 KiB");
}

TEST(FactsTest, ARemovedVolumeTellsUntilWhenItCanBeUsed) {
  RemovedVolume removed;
  removed.record.name = "v";
  removed.removed = Instant{1'000'000'000};
  removed.expires = Instant{2'000'000'000};
  removed.history_bytes = 1024;
  nlohmann::json json = RemovedFacts(removed);
  EXPECT_EQ(json["name"], "v");
  EXPECT_EQ(json["role"], "volume");
  EXPECT_EQ(json["removed_at"], "1970-01-01T00:00:01.000000000Z");
  EXPECT_EQ(json["expires_at"], "1970-01-01T00:00:02.000000000Z");
  EXPECT_EQ(json["history_size"], "1.0 KiB");
}

}  // namespace
}  // namespace rw
