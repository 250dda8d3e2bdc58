// Goal: a policy is what its text says, contradictions are refused in one line, and the schedule
// gives out exactly the ends of calendar periods and holds each for as long as it promises.
// Method: tables of texts; periods found by gmtime_r(3) and timegm(3) instead of the code under
// test; a clock that moves at random over a set of points kept as a collector would keep them.
#include "metadata/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <cerrno>
#include <set>

#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/random.h"

namespace rw {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Period = RetentionPolicy::Period;
using Tier = RetentionPolicy::Tier;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kDay = 24 * kHour;

std::string RefusalOf(const RetentionSettings& settings, const RetentionSettings& defaults = {}) {
  try {
    RetentionPolicy::Parse(settings, defaults);
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL);
    EXPECT_THAT(refused.what(), Not(HasSubstr("\n")));
    return refused.what();
  }
  return "";
}

Instant At(const char* text) { return ParseTime(text, kInstantMax); }

TEST(RetentionTest, SaysADayOfEveryWriteAndPointsByDefault) {
  const RetentionPolicy policy = RetentionPolicy::Parse({});
  EXPECT_EQ(policy.range_ns, kDay);
  EXPECT_THAT(policy.tiers,
              ElementsAre(Tier{Period::kHour, 7 * kDay}, Tier{Period::kDay, 60 * kDay}));
  EXPECT_EQ(policy.history_limit_bytes, std::nullopt);
  EXPECT_EQ(policy.trash_ns, kDay);
}

TEST(RetentionTest, SettingsOverrideDefaultsOneByOne) {
  const RetentionSettings defaults = {
      {"retention", "2h"}, {"keep", "hourly:3d"}, {"history-limit", "5G"}, {"trash", "0"}};
  EXPECT_EQ(
      RetentionPolicy::Parse({}, defaults).ToText(),
      (RetentionSettings{
          {"retention", "2h"}, {"keep", "hourly:3d"}, {"history-limit", "5G"}, {"trash", "0"}}));
  EXPECT_EQ(
      RetentionPolicy::Parse({{"retention", "0"}, {"history-limit", "none"}}, defaults).ToText(),
      (RetentionSettings{
          {"retention", "0"}, {"keep", "hourly:3d"}, {"history-limit", "none"}, {"trash", "0"}}));
  EXPECT_EQ(RetentionPolicy::Parse({{"keep", "none"}, {"trash", "1w"}}, defaults).ToText(),
            (RetentionSettings{
                {"retention", "2h"}, {"keep", "none"}, {"history-limit", "5G"}, {"trash", "7d"}}));
}

TEST(RetentionTest, TiersAreOrderedFromShortPeriodsToLongOnes) {
  EXPECT_EQ(RetentionPolicy::Parse({{"keep", "monthly:100w,daily:60d,weekly:26w,hourly:48h"}})
                .ToText()
                .at("keep"),
            "hourly:2d,daily:60d,weekly:182d,monthly:700d");
}

struct BadPolicy {
  RetentionSettings settings;
  const char* why;
};

const BadPolicy kBadPolicies[] = {
    {{{"retain", "24h"}}, "unknown setting \"retain\"; there are retention, keep,"},
    {{{"retention", ""}}, "retention=\"\" refused: it must be a duration"},
    {{{"retention", "24"}}, "retention=\"24\" refused: it must be a duration"},
    {{{"retention", "1h1d"}}, "from large to small"},
    {{{"trash", "none"}}, "trash=\"none\" refused: it must be a duration"},
    {{{"history-limit", "0"}}, "history-limit=\"0\" refused: it must be a number of bytes"},
    {{{"history-limit", "much"}}, "such as 20G"},
    {{{"keep", ""}}, "keep=\"\" refused: \"\" is none of hourly:SPAN"},
    {{{"keep", "hourly"}}, "\"hourly\" is none of hourly:SPAN"},
    {{{"keep", "yearly:1000d"}}, "\"yearly:1000d\" is none of"},
    {{{"keep", "hourly:7d,"}}, "\"\" is none of"},
    {{{"keep", "hourly:7d, daily:60d"}}, "\" daily:60d\" is none of"},
    {{{"keep", "none,hourly:7d"}}, "\"none\" is none of"},
    {{{"keep", "hourly:"}}, "the span of \"hourly:\" must be a duration"},
    {{{"keep", "hourly:0"}}, "the span of \"hourly:0\" must be a duration"},
    {{{"keep", "hourly:7d:8d"}}, "must be a duration"},
    {{{"keep", "hourly:1h7d"}}, "from large to small"},
    {{{"keep", "hourly:7d,hourly:8d"}}, "hourly is given twice"},
    {{{"keep", "hourly:7d,daily:60d,hourly:7d"}}, "hourly is given twice"},
    {{{"keep", "hourly:59m"}}, "shorter than its period; at least 1h"},
    {{{"keep", "weekly:6d"}}, "shorter than its period; at least 7d"},
    {{{"keep", "monthly:30d"}}, "shorter than its period; at least 31d"},
    {{{"keep", "hourly:24h"}}, "hourly:1d adds nothing to retention=1d"},
    {{{"keep", "hourly:12h,daily:60d"}}, "hourly:12h adds nothing to retention=1d"},
    {{{"retention", "61d"}, {"keep", "daily:60d"}}, "daily:60d adds nothing to retention=61d"},
    {{{"keep", "a\nb"}}, "\\x0a"},
};

TEST(RetentionTest, BadPoliciesAreRefusedInOneLine) {
  for (const BadPolicy& bad : kBadPolicies) {
    EXPECT_THAT(RefusalOf(bad.settings), HasSubstr(bad.why));
  }
}

TEST(RetentionTest, InheritedTiersThatAddNothingAreLeftOut) {
  EXPECT_EQ(RetentionPolicy::Parse({{"retention", "10d"}}).ToText().at("keep"), "daily:60d");
  EXPECT_EQ(RetentionPolicy::Parse({{"retention", "60d"}}).ToText().at("keep"), "none");
  // The default range may grow after a volume's own schedule was accepted.
  const RetentionSettings settings = {{"keep", "hourly:7d,daily:60d"}};
  EXPECT_THAT(RefusalOf(settings, {{"retention", "7d"}}), HasSubstr("adds nothing"));
  EXPECT_EQ(RetentionPolicy::InForce(settings, {{"retention", "7d"}}).ToText().at("keep"),
            "daily:60d");
  EXPECT_EQ(RetentionPolicy::InForce(settings), RetentionPolicy::Parse(settings));
}

RetentionPolicy RandomPolicy(testing::Random& random) {
  RetentionPolicy policy;
  policy.range_ns = random.Below(3 * kDay);
  const uint64_t longest_ns[] = {kHour, kDay, 7 * kDay, 31 * kDay};
  for (const Period period : {Period::kHour, Period::kDay, Period::kWeek, Period::kMonth}) {
    if (random.OneIn(3)) continue;
    const uint64_t least_ns = std::max(longest_ns[static_cast<int>(period)], policy.range_ns + 1);
    policy.tiers.push_back({period, least_ns + random.Below(20 * least_ns)});
  }
  if (random.OneIn(2)) policy.history_limit_bytes = 1 + (random.Next() >> 1 >> random.Below(60));
  policy.trash_ns = random.Next() >> random.Below(64);
  return policy;
}

uint64_t Seed() {
  static const uint64_t seed =
      testing::NumberFromEnvironment("REWIND_SEED", std::random_device{}());
  return seed;
}

TEST(RetentionTest, WhatIsPrintedIsAcceptedBack) {
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(Seed()));
  testing::Random random(Seed());
  for (int i = 0; i < 10'000; ++i) {
    const RetentionPolicy policy = RandomPolicy(random);
    ASSERT_EQ(RetentionPolicy::Parse(policy.ToText()), policy) << policy.ToText().at("keep");
  }
}

TEST(RetentionTest, BrokenPoliciesAreRefusedAndNothingWorse) {
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(Seed()));
  testing::Random random(Seed());
  for (int i = 0; i < 50'000; ++i) {
    RetentionSettings settings = RandomPolicy(random).ToText();
    std::string& text = std::next(settings.begin(), static_cast<int>(random.Below(4)))->second;
    for (uint64_t changes = random.Below(3) + 1; changes > 0; --changes) {
      const size_t at = random.Below(text.size() + 1);
      if (random.OneIn(2) && at < text.size()) {
        text.erase(at, 1);
      } else {
        text.insert(at, 1,
                    random.OneIn(3) ? static_cast<char>(random.Next()) : ",:dhw0"[random.Below(6)]);
      }
    }
    if (RefusalOf(settings).empty()) {
      const RetentionPolicy policy = RetentionPolicy::Parse(settings);
      ASSERT_EQ(RetentionPolicy::Parse(policy.ToText()), policy);
    }
  }
}

// --- the schedule ---

// Whether a period of this kind begins at this second, as the C library's calendar has it.
bool Begins(Period period, time_t second) {
  tm broken = {};
  gmtime_r(&second, &broken);
  if (broken.tm_min != 0 || broken.tm_sec != 0) return false;
  if (period == Period::kHour) return true;
  if (broken.tm_hour != 0) return false;
  if (period == Period::kDay) return true;
  if (period == Period::kWeek) return broken.tm_wday == 1;
  return broken.tm_mday == 1;
}

TEST(RetentionTest, PointsAreTheLastNanosecondsOfPeriods) {
  const RetentionPolicy policy =
      RetentionPolicy::Parse({{"retention", "0"}, {"keep", "weekly:20w,monthly:300d"}});
  const Instant now = At("2026-11-22T17:31:00Z");
  const auto points = policy.Points(At("2026-09-28T00:00:00Z"), At("2026-11-16T00:00:00Z"), now);
  std::vector<std::string> texts;
  for (const Instant point : points) texts.push_back(FormatInstant(point).substr(0, 10));
  EXPECT_THAT(texts,
              ElementsAre("2026-09-30", "2026-10-04", "2026-10-11", "2026-10-18", "2026-10-25",
                          "2026-10-31", "2026-11-01", "2026-11-08", "2026-11-15"));
  for (const Instant point : points) {
    EXPECT_THAT(FormatInstant(point), HasSubstr("T23:59:59.999999999Z"));
  }
}

TEST(RetentionTest, AnEndOfPeriodsOfSeveralKindsIsOnePoint) {
  // 2027-03-01 is a Monday: an hour, a day, a week and a month end with it.
  const RetentionPolicy policy = RetentionPolicy::Parse(
      {{"retention", "0"}, {"keep", "hourly:3h,daily:3d,weekly:14d,monthly:31d"}});
  const Instant point = Before(At("2027-03-01T00:00:00Z"));
  EXPECT_THAT(policy.Points(point, Instant{point.ns + 1}, Instant{point.ns + 1}),
              ElementsAre(point));
  EXPECT_TRUE(policy.Wants(point, Instant{point.ns + 1 + 31 * kDay}));
  EXPECT_FALSE(policy.Wants(point, Instant{point.ns + 2 + 31 * kDay}));
}

TEST(RetentionTest, MonthsAreThoseOfTheCalendar) {
  RetentionPolicy policy;
  policy.tiers = {{Period::kMonth, UINT64_MAX}};
  std::vector<Instant> expected;
  for (int month = 1;; ++month) {
    tm broken = {};
    broken.tm_year = 70;
    broken.tm_mon = month;
    broken.tm_mday = 1;
    const time_t begin = timegm(&broken);
    if (static_cast<uint64_t>(begin) > UINT64_MAX / kSecond) break;
    expected.push_back(Before(Instant{static_cast<uint64_t>(begin) * kSecond}));
  }
  ASSERT_GT(expected.size(), 7000u) << "up to the year 2554";
  EXPECT_EQ(policy.Points(Instant{0}, kInstantMax, kInstantMax), expected);
}

TEST(RetentionTest, PointsAgreeWithTheCalendarOfTheLibrary) {
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(Seed()));
  testing::Random random(Seed());
  for (int round = 0; round < 200; ++round) {
    RetentionPolicy policy;
    const Period period = static_cast<Period>(random.Below(4));
    policy.tiers = {{period, kHour * random.Below(2000) + random.Below(kHour)}};
    const uint64_t from = random.Below(UINT64_MAX - 4000 * kHour);
    const uint64_t to = from + random.Below(1000 * kHour);
    const uint64_t now = from + random.Below(3000 * kHour);
    std::vector<Instant> expected;
    for (uint64_t end = from / kHour * kHour; end <= to; end += kHour) {
      if (end == 0 || end - 1 < from || end - 1 >= to) continue;
      if (!Begins(period, static_cast<time_t>(end / kSecond))) continue;
      if (end > now || now - end > policy.tiers[0].span_ns) continue;
      expected.push_back(Instant{end - 1});
    }
    ASSERT_EQ(policy.Points(Instant{from}, Instant{to}, Instant{now}), expected)
        << from << ' ' << to << ' ' << now;
  }
}

TEST(RetentionTest, NothingIsListedOfAnEmptyRangeOrSchedule) {
  const RetentionPolicy policy = RetentionPolicy::Parse({});
  EXPECT_THAT(policy.Points(Instant{5 * kDay}, Instant{5 * kDay}, Instant{6 * kDay}), IsEmpty());
  EXPECT_THAT(policy.Points(Instant{6 * kDay}, Instant{5 * kDay}, Instant{6 * kDay}), IsEmpty());
  EXPECT_THAT(policy.Points(kInstantMax, kInstantMax, kInstantMax), IsEmpty());
  EXPECT_THAT(
      RetentionPolicy::Parse({{"keep", "none"}}).Points(Instant{0}, kInstantMax, kInstantMax),
      IsEmpty());
  EXPECT_FALSE(policy.Wants(kInstantMax, kInstantMax));
  EXPECT_FALSE(policy.Wants(Instant{kDay}, Instant{kDay})) << "the first of a day, not the last";
}

// Points leave the range one by one as the clock moves; each must be held to the end of its span
// and not a moment longer, in whatever steps the clock moves.
TEST(RetentionTest, EveryPointIsWantedUntilItsSpanIsOver) {
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(Seed()));
  testing::Random random(Seed());
  for (int round = 0; round < 50; ++round) {
    const RetentionPolicy policy = RandomPolicy(random);
    const uint64_t begin = kDay * (10'000 + random.Below(20'000)) + random.Below(kDay);
    Instant horizon{begin - policy.range_ns};
    const Instant made = horizon;
    std::set<Instant> held;
    Instant now{begin};
    for (int step = 0; step < 300; ++step) {
      now.ns += random.Below(random.OneIn(10) ? 40 * kDay : 2 * kDay);
      const Instant next{now.ns - policy.range_ns};
      const std::vector<Instant> points = policy.Points(horizon, next, now);
      ASSERT_TRUE(std::is_sorted(points.begin(), points.end()));
      for (const Instant point : points) {
        ASSERT_GE(point, horizon);
        ASSERT_LT(point, next);
        ASSERT_TRUE(policy.Wants(point, now));
        ASSERT_TRUE(held.insert(point).second) << "given out twice: " << FormatInstant(point);
      }
      horizon = next;
      std::erase_if(held, [&](Instant point) { return !policy.Wants(point, now); });
      // What is held is all that one listing from the beginning would give, no more and no less.
      const std::vector<Instant> all = policy.Points(made, horizon, now);
      ASSERT_EQ(std::vector<Instant>(held.begin(), held.end()), all) << FormatInstant(now);
    }
    for (const Instant point : held) {
      const uint64_t end = point.ns + 1;
      uint64_t span_ns = 0;
      for (const Tier& tier : policy.tiers) {
        if (Begins(tier.period, static_cast<time_t>(end / kSecond))) {
          span_ns = std::max(span_ns, tier.span_ns);
        }
      }
      EXPECT_EQ(end % kHour, 0u);
      EXPECT_TRUE(policy.Wants(point, Instant{end + span_ns}));
      EXPECT_FALSE(policy.Wants(point, Instant{end + span_ns + 1}));
    }
  }
}

}  // namespace
}  // namespace rw
