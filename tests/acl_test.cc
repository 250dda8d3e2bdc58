#include "fs/acl.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "metadata/refused.h"
#include "tests/support/reference_model_acl.h"

namespace rw {
namespace {

using testing::EncodeModelAcl;
using testing::ModelAclEntry;

constexpr uint16_t kOwner = 1, kUser = 2, kOwningGroup = 4, kGroup = 8, kMask = 16, kOthers = 32;

int ErrorOf(const std::string& xattr) {
  try {
    Acl::Parse(xattr);
    return 0;
  } catch (const Refused& refused) {
    return refused.error();
  }
}

std::string Named(uint16_t owner, uint16_t user, uint16_t group, uint16_t mask, uint16_t others) {
  return EncodeModelAcl({{kOwner, owner},
                         {kUser, user, 1000},
                         {kOwningGroup, group},
                         {kMask, mask},
                         {kOthers, others}});
}

TEST(AclTest, IsEncodedAsItWasParsed) {
  const std::string full = EncodeModelAcl({{kOwner, 7},
                                           {kUser, 4, 33},
                                           {kUser, 0, 1000},
                                           {kOwningGroup, 5},
                                           {kGroup, 1, 4'000'000'000},
                                           {kMask, 6},
                                           {kOthers, 0}});
  EXPECT_EQ(Acl::Parse(full).Encode(), full);
  EXPECT_FALSE(Acl::Parse(full).minimal());
  const std::string minimal = EncodeModelAcl({{kOwner, 6}, {kOwningGroup, 4}, {kOthers, 4}});
  EXPECT_EQ(Acl::Parse(minimal).Encode(), minimal);
  EXPECT_TRUE(Acl::Parse(minimal).minimal());
  EXPECT_EQ(Acl::Parse(minimal).ModeBits(), 0644u);
}

TEST(AclTest, WhatMeansNothingIsDropped) {
  const std::string odd = EncodeModelAcl({{kOwner, 6, 5}, {kOwningGroup, 4, 6}, {kOthers, 4, 7}});
  EXPECT_EQ(Acl::Parse(odd).Encode(),
            EncodeModelAcl({{kOwner, 6}, {kOwningGroup, 4}, {kOthers, 4}}));
}

TEST(AclTest, RefusesWhatLinuxRefuses) {
  const std::string good = Named(7, 6, 5, 4, 0);
  EXPECT_EQ(ErrorOf(good), 0);
  EXPECT_EQ(ErrorOf(""), EINVAL);
  EXPECT_EQ(ErrorOf(good.substr(0, good.size() - 1)), EINVAL);
  EXPECT_EQ(ErrorOf(good + "x"), EINVAL);
  EXPECT_EQ(ErrorOf(good.substr(0, 4)), EINVAL);
  EXPECT_EQ(ErrorOf("\x01" + good.substr(1)), EOPNOTSUPP);
  const ModelAclEntry owner{kOwner, 7}, group{kOwningGroup, 5}, others{kOthers, 1}, mask{kMask, 7};
  EXPECT_EQ(ErrorOf(EncodeModelAcl({group, others})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, others})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, group})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, owner, group, others})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({others, group, owner})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, {kUser, 7, 5}, group, others})), EINVAL) << "no mask";
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, {kUser, 7, 5}, {kUser, 7, 5}, group, mask, others})),
            EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, {kUser, 7}, group, mask, others})), EINVAL)
      << "names nobody";
  EXPECT_EQ(ErrorOf(EncodeModelAcl({{kOwner, 8}, group, others})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, group, {3, 7}, others})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({owner, group, others, {64, 7}})), EINVAL);
  EXPECT_EQ(ErrorOf(EncodeModelAcl({{0, 7}, owner, group, others})), EINVAL);
}

TEST(AclTest, ChmodChangesTheMaskAndNotTheGroup) {
  Acl acl = Acl::Parse(Named(7, 6, 5, 4, 0));
  EXPECT_EQ(acl.ModeBits(), 0740u);
  acl.SetMode(0612);
  EXPECT_EQ(acl.Encode(), Named(6, 6, 5, 1, 2));
  Acl minimal = Acl::Parse(EncodeModelAcl({{kOwner, 6}, {kOwningGroup, 4}, {kOthers, 4}}));
  minimal.SetMode(0751);
  EXPECT_EQ(minimal.ModeBits(), 0751u);
}

TEST(AclTest, WhatIsInheritedGrantsNoMoreThanWasAskedForNorThanTheList) {
  Acl acl = Acl::Parse(Named(5, 7, 7, 7, 4));
  uint32_t mode = 0102666;
  acl.Inherit(&mode);
  EXPECT_EQ(mode, 0102464u);
  EXPECT_EQ(acl.Encode(), Named(4, 7, 7, 6, 4));
}

}  // namespace
}  // namespace rw
