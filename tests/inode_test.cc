// Inodes and mutations: what is encoded is decoded, what is damaged is refused.
#include "metadata/inode.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <random>

#include "metadata/mutation.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr Instant kAt{1'700'000'000'123'456'789};

Inode RandomInode(std::mt19937_64* random) {
  auto& next = *random;
  const auto time = [&]() -> FileTime {
    if (next() % 3 == 0) return ToFileTime(kAt);
    return {static_cast<int64_t>(next()) >> (next() % 64),
            static_cast<uint32_t>(next() % 1'000'000'000)};
  };
  Inode inode;
  inode.mode = 0100000 | static_cast<uint32_t>(next() % 07777);
  inode.uid = static_cast<uint32_t>(next());
  inode.gid = static_cast<uint32_t>(next());
  inode.nlink = static_cast<uint32_t>(next() % 4);
  inode.rdev = next() % 2 ? static_cast<uint32_t>(next()) : 0;
  inode.size = next() >> (next() % 64);
  inode.allocated = next() % 2 ? inode.size : next() >> (next() % 64);
  inode.parent = next() % 2 ? next() : 0;
  inode.atime = time();
  inode.mtime = time();
  inode.ctime = time();
  if (next() % 2) inode.target = std::string(next() % 100 + 1, 'x');
  inode.has_capability = next() % 2;
  for (uint64_t n = next() % (Inode::kMaxCuts + 1), i = 1; i <= n; ++i)
    inode.cuts.push_back({i * 100, Instant{kAt.ns - 1000 + i}});
  return inode;
}

TEST(InodeTest, DecodesWhatItEncodes) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const Inode inode = RandomInode(&random);
    ASSERT_EQ(Inode::Decode(inode.Encode(kAt), kAt), inode);
  }
}

TEST(InodeTest, TimesOfTheVersionItselfTakeNoSpace) {
  Inode inode;
  inode.mode = 0100644;
  inode.size = inode.allocated = 1 << 20;
  inode.atime = inode.mtime = inode.ctime = ToFileTime(kAt);
  EXPECT_LE(inode.Encode(kAt).size(), 12u);
}

TEST(InodeTest, DamagedBytesAreRefusedAndNeverCrash) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = RandomInode(&random).Encode(kAt);
    bytes.resize(random() % (bytes.size() + 1));
    if (!bytes.empty()) bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      (void)Inode::Decode(bytes, kAt);
    } catch (const Refused& refused) {
      ASSERT_EQ(refused.error(), EIO);
    }
  }
}

TEST(MutationsTest, DecodeWhatTheyEncode) {
  std::mt19937_64 random(3);
  Mutations all;
  all.inodes.push_back({5, RandomInode(&random)});
  all.inodes.push_back({6, std::nullopt});
  all.names.push_back({1, "name\xff", 5, 0100000});
  all.names.push_back({1, "gone", 0, 0});
  all.chunks.push_back({5, 3, ChunkVersion{true, 0, {}}});
  all.xattrs.push_back({5, "user.a", std::string("\0b", 2)});
  all.xattrs.push_back({5, "user.c", std::nullopt});
  all.catalog.push_back({"Vx", "{}"});
  all.catalog.push_back({"Vy", std::nullopt});
  std::string bytes;
  all.Encode(&bytes, kAt, 1);
  const Mutations decoded = Mutations::Decode(bytes, kAt, 1);
  std::string again;
  decoded.Encode(&again, kAt, 1);
  EXPECT_EQ(again, bytes);
  ASSERT_EQ(decoded.inodes.size(), 2u);
  EXPECT_EQ(decoded.inodes[0].inode, all.inodes[0].inode);
  EXPECT_EQ(decoded.names[0].name, "name\xff");
  EXPECT_EQ(decoded.xattrs[0].value, std::string("\0b", 2));
  bytes.push_back('\x7f');
  EXPECT_THROW(Mutations::Decode(bytes, kAt, 1), Refused);
}

}  // namespace
}  // namespace rw
