// Goal: who mistypes a name is shown the one that was meant, and nothing far-fetched.
// Method: typical slips.
#include "metadata/similar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rw {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<std::string> kKnown = {"release-1", "release-2", "before-migration", "Ship"};

TEST(SimilarTest, SlipsAreRecognised) {
  EXPECT_THAT(MostSimilar("relase-2", kKnown), ElementsAre("release-2", "release-1"));
  EXPECT_THAT(MostSimilar("before-migratoin", kKnown), ElementsAre("before-migration"));
  EXPECT_THAT(MostSimilar("ship", kKnown), ElementsAre("Ship"));
  EXPECT_THAT(MostSimilar("shi", kKnown), ElementsAre("Ship"));
}

TEST(SimilarTest, PartsAreRecognised) {
  EXPECT_THAT(MostSimilar("before", kKnown), ElementsAre("before-migration"));
  EXPECT_THAT(MostSimilar("migration", kKnown), ElementsAre("before-migration"));
}

TEST(SimilarTest, WhatIsUnlikeIsNotShown) {
  EXPECT_THAT(MostSimilar("tomorrow", kKnown), IsEmpty());
  EXPECT_THAT(MostSimilar("", kKnown), IsEmpty());
  EXPECT_THAT(MostSimilar("x", kKnown), IsEmpty());
  EXPECT_THAT(MostSimilar("release", {}), IsEmpty());
}

TEST(SimilarTest, AtMostThreeAreShownTheMostSimilarFirst) {
  EXPECT_THAT(MostSimilar("mark-10", {"mark-1", "mark-10x", "mark-20", "mark-10", "mark-11"}),
              ElementsAre("mark-10", "mark-1", "mark-10x"));
}

}  // namespace
}  // namespace rw
