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

}  // namespace
}  // namespace rw
