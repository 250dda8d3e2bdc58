#include "metadata/keys.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <xxhash.h>

#include <algorithm>
#include <cassert>

#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {

std::string TypePrefix(KeyType type, TimelineId timeline) {
  std::string key(1, static_cast<char>(type));
  PutBigEndian(&key, timeline);
  return key;
}

std::string InoPrefix(KeyType type, TimelineId timeline, Ino ino) {
  std::string key = TypePrefix(type, timeline);
  PutBigEndian(&key, ino);
  return key;
}

static std::string SegmentKey(KeyType type, TimelineId timeline, uint32_t segment) {
  std::string key = TypePrefix(type, timeline);
  PutBigEndian(&key, segment);
  return key;
}

std::string InodePrefix(TimelineId timeline, Ino ino) {
  return InoPrefix(KeyType::kInode, timeline, ino);
}

std::string NamePrefix(TimelineId timeline, Ino parent, uint64_t cookie, std::string_view name) {
  std::string key = InoPrefix(KeyType::kName, timeline, parent);
  PutBigEndian(&key, cookie);
  key.append(name);
  key.push_back('\0');
  return key;
}

std::string ChunkPrefix(TimelineId timeline, Ino ino, uint64_t chunk) {
  std::string key = InoPrefix(KeyType::kChunk, timeline, ino);
  PutBigEndian(&key, chunk);
  return key;
}

std::string XattrPrefix(TimelineId timeline, Ino ino, std::string_view name) {
  std::string key = InoPrefix(KeyType::kXattr, timeline, ino);
  key.append(name);
  key.push_back('\0');
  return key;
}

std::string SamplePrefix(TimelineId timeline) { return TypePrefix(KeyType::kSample, timeline); }

std::string HeadNameKey(TimelineId timeline, Ino parent, uint64_t cookie, std::string_view name) {
  std::string key = InoPrefix(KeyType::kHeadName, timeline, parent);
  PutBigEndian(&key, cookie);
  key.append(name);
  return key;
}

std::string HeadDirKey(TimelineId timeline, Ino dir) {
  return InoPrefix(KeyType::kHeadDir, timeline, dir);
}
std::string OrphanKey(TimelineId timeline, Ino ino) {
  return InoPrefix(KeyType::kOrphan, timeline, ino);
}
std::string CoveredKey(TimelineId timeline) { return TypePrefix(KeyType::kCovered, timeline); }
std::string SettledKey(TimelineId timeline) { return TypePrefix(KeyType::kSettled, timeline); }
std::string TimelineKey(TimelineId timeline) { return TypePrefix(KeyType::kTimeline, timeline); }
std::string VolumeKey(std::string_view name) {
  return std::string(1, static_cast<char>(KeyType::kVolume)).append(name);
}
std::string EmptyingKey(TimelineId timeline, uint32_t segment) {
  return SegmentKey(KeyType::kEmptying, timeline, segment);
}
std::string HeldKey(TimelineId timeline, uint32_t segment) {
  return SegmentKey(KeyType::kHeld, timeline, segment);
}
std::pair<TimelineId, uint32_t> SplitSegmentKey(std::string_view key) {
  if (key.size() != 1 + 4 + 4) throw Refused(EIO, "index: a key of a segment has a wrong size");
  return {GetBigEndian<uint32_t>(key.data() + 1), GetBigEndian<uint32_t>(key.data() + 5)};
}
std::string BroughtBackPrefix(const BroughtBack& parts) {
  std::string key = TypePrefix(KeyType::kBroughtBack, parts.timeline);
  PutBigEndian(&key, parts.of);
  PutBigEndian(&key, parts.segment);
  return key;
}
std::string BroughtBackKey(const BroughtBack& parts) {
  return WithInstant(BroughtBackPrefix(parts), parts.at);
}
BroughtBack SplitBroughtBackKey(std::string_view key) {
  if (key.size() != 1 + 4 + 4 + 4 + kInstantBytes)
    throw Refused(EIO, "index: a key of what was brought back has a wrong size");
  return {GetBigEndian<uint32_t>(key.data() + 1), GetBigEndian<uint32_t>(key.data() + 5),
          GetBigEndian<uint32_t>(key.data() + 9), InstantOf(key)};
}
std::string RestoredPrefix(TimelineId timeline) { return TypePrefix(KeyType::kRestored, timeline); }
std::string RemovedKey(VolumeId volume) {
  std::string key(1, static_cast<char>(KeyType::kRemoved));
  PutBigEndian(&key, volume);
  return key;
}
std::string MarkKey(VolumeId volume, std::string_view label) {
  std::string key(1, static_cast<char>(KeyType::kMark));
  PutBigEndian(&key, volume);
  return key.append(label);
}
std::string CountersKey() { return std::string(1, static_cast<char>(KeyType::kCounters)); }

ChunkVersionKey SplitChunkKey(std::string_view key) {
  constexpr size_t kTimelineOffset = 1, kInoOffset = 5, kChunkOffset = 13;
  if (key.size() != kChunkOffset + 8 + kInstantBytes)
    throw Refused(EIO, "index: a chunk's key has a wrong size");
  return {GetBigEndian<uint32_t>(key.data() + kTimelineOffset),
          GetBigEndian<uint64_t>(key.data() + kInoOffset),
          GetBigEndian<uint64_t>(key.data() + kChunkOffset), InstantOf(key)};
}

void AppendInstant(std::string* key, Instant at) { PutBigEndian(key, ~at.ns); }

std::string WithInstant(std::string prefix, Instant at) {
  AppendInstant(&prefix, at);
  return prefix;
}

Instant InstantOf(std::string_view versioned_key) {
  assert(versioned_key.size() >= kInstantBytes);
  return Instant{
      ~GetBigEndian<uint64_t>(versioned_key.data() + versioned_key.size() - kInstantBytes)};
}

std::string AfterPrefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

uint64_t NameCookie(uint64_t seed, std::string_view name) {
  return std::max<uint64_t>(XXH3_64bits_withSeed(name.data(), name.size(), seed) >> 1, 17);
}

}  // namespace rw
