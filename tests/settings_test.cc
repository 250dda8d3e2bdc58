// Goal: the daemon's settings reach the store as what they say, and what means nothing is refused.
// Method: settings by hand; that they come from flags and the environment is cli_test.cc's.
#include "plugin/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "metadata/refused.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string RefusalOf(std::string ServeSettings::*setting, const std::string& value) {
  ServeSettings settings;
  settings.*setting = value;
  try {
    StoreOptionsOf(settings);
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL);
    EXPECT_THAT(refused.what(), Not(HasSubstr("\n")));
    return refused.what();
  }
  return "";
}

TEST(SettingsTest, DefaultsAreTheBuiltInOnes) {
  const StoreOptions options = StoreOptionsOf({});
  EXPECT_EQ(options.root, kDefaultRoot);
  EXPECT_EQ(RetentionPolicy::Parse({}, options.defaults), RetentionPolicy::Parse({}));
  EXPECT_EQ(options.collector.reserve_bytes, std::nullopt);
  EXPECT_EQ(options.collector.copy_bytes_per_second, CollectorOptions().copy_bytes_per_second);
}

TEST(SettingsTest, EachReachesTheStore) {
  ServeSettings settings;
  settings.root = "/elsewhere";
  settings.retention = "0";
  settings.keep = "hourly:48h";
  settings.history_limit = "50G";
  settings.trash = "1w";
  settings.reserve = "2G";
  settings.collect_rate = "8M";
  StoreOptions options = StoreOptionsOf(settings);
  EXPECT_EQ(options.root, "/elsewhere");
  const RetentionSettings expected = {
      {"retention", "0"}, {"keep", "hourly:2d"}, {"history-limit", "50G"}, {"trash", "7d"}};
  EXPECT_EQ(RetentionPolicy::Parse({}, options.defaults).ToText(), expected);
  EXPECT_EQ(options.collector.reserve_bytes, uint64_t{2} << 30);
  EXPECT_EQ(options.collector.copy_bytes_per_second, uint64_t{8} << 20);
  settings.reserve = "0";
  EXPECT_EQ(StoreOptionsOf(settings).collector.reserve_bytes, 0u);
}

TEST(SettingsTest, WhatMeansNothingIsRefused) {
  EXPECT_THAT(RefusalOf(&ServeSettings::retention, "always"), HasSubstr("retention=\"always\""));
  EXPECT_THAT(RefusalOf(&ServeSettings::keep, "yearly:1w"), HasSubstr("keep=\"yearly:1w\""));
  EXPECT_THAT(RefusalOf(&ServeSettings::history_limit, "0"), HasSubstr("history-limit=\"0\""));
  EXPECT_THAT(RefusalOf(&ServeSettings::trash, ""), HasSubstr("trash=\"\""));
  EXPECT_THAT(RefusalOf(&ServeSettings::reserve, "5%"), HasSubstr("reserve=\"5%\""));
  EXPECT_THAT(RefusalOf(&ServeSettings::collect_rate, "0"), HasSubstr("collect-rate=\"0\""));
}

TEST(SettingsTest, ARangeBeyondTheDefaultScheduleIsNoContradiction) {
  // One variable must be enough to keep more.
  EXPECT_EQ(RefusalOf(&ServeSettings::retention, "30d"), "");
}

}  // namespace
}  // namespace rw
