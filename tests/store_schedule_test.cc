// Goal: schedules give volumes their marks: at their times, with names that say these, each once;
// what was missed is caught up once; clocks that jump do no harm; marks of people stay.
// Method: a store with a clock of the test's; what the daemon calls once a second is called by
// hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMinute = 60 * testing::ManualClock::kSecond;
constexpr uint64_t kHour = 60 * kMinute;

class StoreScheduleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    clock_.Set(ParseTime("2026-11-27T13:40:00Z", {}).ns);
    Open();
  }
  void Open() {
    store_.reset();
    StoreOptions options(temp_.path() / "root", clock_.AsFunction());
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", retention_}, {"keep", "none"}, {"trash", "0"}};
    store_ = Store::Open(std::move(options));
  }
  void Create(const std::string& name, const ScheduleSettings& schedule) {
    CreateRequest request;
    request.name = name;
    request.schedule = schedule;
    store_->Create(request);
  }
  std::vector<std::string> Labels(const std::string& name = "v") {
    std::vector<std::string> labels;
    for (const Mark& mark : store_->Marks(name)) labels.push_back(mark.label);
    return labels;
  }
  void RunAfter(uint64_t ns) {
    clock_.Forward(ns);
    store_->RunSchedules();
    store_->RunSchedules();
  }

  testing::TempDir temp_;
  testing::ManualClock clock_;
  std::string retention_ = "24h";
  std::unique_ptr<Store> store_;
};

TEST_F(StoreScheduleTest, MarksAreOfTheirTimesAndNamedAfterThem) {
  Create("v", {{"mark-every", "1h"}, {"mark-keep", "3"}});
  Create("w", {{"mark-every", "30m"}});
  Create("x", {});
  store_->RunSchedules();
  EXPECT_THAT(Labels(), IsEmpty()) << "13:00 was before the volume";
  RunAfter(20 * kMinute + 7);
  EXPECT_THAT(Labels(), ElementsAre("auto-2026-11-27T14:00Z"));
  EXPECT_EQ(store_->Marks("v")[0].at, ParseTime("2026-11-27T14:00:00Z", {}));
  EXPECT_EQ(store_->InstantOf("v", "auto-2026-11-27T14:00Z"),
            ParseTime("2026-11-27T14:00:00Z", {}));
  EXPECT_THAT(Labels("w"), ElementsAre("auto-2026-11-27T14:00Z"));
  RunAfter(30 * kMinute);
  EXPECT_THAT(Labels("w"), ElementsAre("auto-2026-11-27T14:00Z", "auto-2026-11-27T14:30Z"));
  EXPECT_EQ(Labels().size(), 1u);
  EXPECT_THAT(Labels("x"), IsEmpty());
  for (int i = 0; i < 4; ++i) RunAfter(kHour);
  EXPECT_THAT(Labels(), ElementsAre("auto-2026-11-27T16:00Z", "auto-2026-11-27T17:00Z",
                                    "auto-2026-11-27T18:00Z"));
  const auto status = store_->Schedules("v");
  ASSERT_EQ(status.size(), 1u);
  EXPECT_EQ(status[0].last, ParseTime("2026-11-27T18:00:00Z", {}));
  EXPECT_EQ(status[0].next, ParseTime("2026-11-27T19:00:00Z", {}));
  EXPECT_EQ(status[0].marks, 3u);
}

// What the mark shows is what there was at its time, not when somebody came to making it.
TEST_F(StoreScheduleTest, WhatWasMissedIsCaughtUpOnce) {
  Create("v", {{"mark-every", "1h"}});
  const auto volume = store_->OpenVolume("v");
  volume->Create({}, kRootIno, "before", S_IFREG | 0644, 0, {});
  clock_.Forward(4 * kHour);  // the machine slept
  volume->Create({}, kRootIno, "after", S_IFREG | 0644, 0, {});
  store_->RunSchedules();
  store_->RunSchedules();
  EXPECT_THAT(Labels(), ElementsAre("auto-2026-11-27T17:00Z"));
  const auto then = store_->OpenAt("v", store_->InstantOf("v", "auto-2026-11-27T17:00Z"));
  EXPECT_TRUE(then->Lookup(kRootIno, "before"));
  EXPECT_FALSE(then->Lookup(kRootIno, "after"));
}

TEST_F(StoreScheduleTest, ARestartChangesNothing) {
  Create("v", {{"mark-every", "1h"}});
  RunAfter(kHour);
  const std::vector<std::string> labels = Labels();
  Open();
  store_->RunSchedules();
  EXPECT_EQ(Labels(), labels);
  store_->RemoveMark("v", labels[0]);  // by a person: it does not come back
  Open();
  RunAfter(0);
  EXPECT_THAT(Labels(), IsEmpty());
  RunAfter(kHour);
  EXPECT_EQ(Labels().size(), 1u);
}

TEST_F(StoreScheduleTest, MarksOfPeopleStay) {
  Create("v", {{"mark-every", "1h"}, {"mark-keep", "2h"}});
  store_->SetMark({"v"}, "auto-mine", "", {});
  store_->SetMark({"v"}, "auto-2026-11-27T15:00Z", "a person's", {});
  for (int i = 0; i < 30; ++i) RunAfter(kHour / 2);
  EXPECT_THAT(Labels(), ::testing::IsSupersetOf({"auto-mine", "auto-2026-11-27T15:00Z"}));
  EXPECT_EQ(Labels().size(), 4u);
  // Without a schedule there are no new ones; those that there are go when their time has come.
  store_->Set("v", {{"mark-every", ""}, {"mark-keep", ""}});
  RunAfter(10 * kHour);
  EXPECT_EQ(Labels().size(), 4u);
}

TEST_F(StoreScheduleTest, ClocksThatJumpDoNoHarm) {
  Create("v", {{"mark-every", "1h"}, {"mark-keep", "100"}});
  RunAfter(kHour);
  RunAfter(kHour);
  const size_t before = Labels().size();
  clock_.Back(30 * kMinute);  // 15:10: that hour is marked
  RunAfter(0);
  EXPECT_EQ(Labels().size(), before);
  clock_.Forward(1000 * 24 * kHour);
  RunAfter(0);
  EXPECT_EQ(Labels().size(), before + 1) << "once, not for each hour";
  clock_.Back(1000 * 24 * kHour);
  for (int i = 0; i < 3; ++i) RunAfter(kHour);
  EXPECT_EQ(Labels().size(), before + 4) << "the schedule goes on where the clock is";
  // Instants never went back, so these are of when they were made.
  for (const Mark& mark : store_->Marks("v")) {
    EXPECT_EQ(mark.by_schedule, true);
    EXPECT_LE(mark.at, store_->Now());
    store_->OpenAt("v", mark.at);
  }
}

TEST_F(StoreScheduleTest, WithoutHistoryMarksAreOfNow) {
  retention_ = "0";
  Open();
  Create("v", {{"mark-every", "1h"}});
  const auto volume = store_->OpenVolume("v");
  clock_.Forward(kHour);
  volume->Create({}, kRootIno, "f", S_IFREG | 0644, 0, {});
  store_->Collect();
  store_->RunSchedules();
  ASSERT_EQ(Labels().size(), 1u);
  EXPECT_TRUE(store_->OpenAt("v", store_->Marks("v")[0].at)->Lookup(kRootIno, "f"));
}

TEST(MarkScheduleTest, SettingsAreUnderstoodOrRefused) {
  const MarkSchedule hourly = MarkSchedule::Parse({{"mark-every", "1h"}, {"mark-keep", "48"}});
  EXPECT_EQ(hourly.every_ns, kHour);
  EXPECT_EQ(hourly.keep_count, 48u);
  const MarkSchedule daily = MarkSchedule::Parse({{"mark-every", "1d"}, {"mark-keep", "2w"}});
  EXPECT_FALSE(daily.keep_count);
  EXPECT_EQ(daily.keep_ns, 14 * 24 * kHour);
  EXPECT_EQ(MarkSchedule::Parse({{"mark-every", "1h"}}).keep_count, 24u);
  EXPECT_EQ(MarkSchedule::Parse({}).every_ns, 0u);
  EXPECT_EQ(MarkSchedule::Parse({{"mark-every", "none"}}).every_ns, 0u);
  const std::pair<ScheduleSettings, const char*> bad[] = {
      {{{"mark-every", "5s"}}, "from 1m to 366d"},
      {{{"mark-every", "hourly"}}, "such as 1h"},
      {{{"mark-every", "90s"}}, "whole minutes"},
      {{{"mark-every", "1h"}, {"mark-keep", "0"}}, "from 1 to 100000"},
      {{{"mark-every", "1h"}, {"mark-keep", "10m"}}, "shorter than mark-every"},
      {{{"mark-every", "1h"}, {"mark-keep", "all"}}, "a number of marks such as 48"},
      {{{"mark-keep", "48"}}, "give that, too"}};
  for (const auto& [settings, why] : bad) {
    try {
      MarkSchedule::Parse(settings);
      ADD_FAILURE() << why;
    } catch (const Refused& refused) {
      EXPECT_THAT(refused.what(), HasSubstr(why));
    }
  }
}

TEST(MarkScheduleTest, NamesSortAsTheirTimesDo) {
  EXPECT_EQ(ScheduledLabel(ParseTime("2026-11-27T14:00:00Z", {})), "auto-2026-11-27T14:00Z");
  EXPECT_LT(ScheduledLabel(ParseTime("2026-11-27T14:01:00Z", {})), "auto-2026-11-27T14:10Z");
  CheckLabel(ScheduledLabel(ParseTime("2026-11-27T14:00:00Z", {})));
}

}  // namespace
}  // namespace rw
