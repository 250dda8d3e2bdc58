// Keys of the index (metadata/FORMAT.md, "Keys"). Versioned keys end in the instant, big-endian and
// inverted, so that the newest version at or before T is the first key at or after prefix + ~T.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "metadata/catalog.h"
#include "metadata/inode.h"

namespace rw {

// Stored on disk: never renumber. The first byte of every key.
enum class KeyType : char {
  kInode = 'I',  // timeline, ino, ~instant            -> inode; empty: ended
  kName = 'N',   // timeline, parent, cookie, name, 0, ~instant -> ino, type; empty: ended
  kChunk = 'E',  // timeline, ino, chunk, ~instant     -> chunk version
  kXattr = 'X',  // timeline, ino, name, 0, ~instant   -> 1, value; empty: ended
  kHeadName =
      'n',  // timeline, parent, cookie, name     -> ino, type: what is there now, without history
  kHeadDir =
      'd',  // timeline, dir                      -> empty: kHeadName is complete for this directory
  kOrphan = 'o',   // timeline, ino                      -> empty: unlinked, and not yet forgotten
  kCovered = 'P',  // timeline                           -> how far the index covers the journal
  kSample =
      'S',  // timeline, ~instant                 -> position and totals of a record, now and then
  kVolume = 'V',    // name                               -> JSON
  kEmptying = 'Q',  // timeline, segment                  -> empty: some references to it were moved
  kSettled = 'U',  // timeline                  -> moved data's last segment that the index knows of
  kHeld = 'H',     // timeline, segment         -> instant until which versions may name it unseen
  // timeline, timeline, segment, ~instant -> empty: a version of the first refers to the segment
  // again, after it had not
  kBroughtBack = 'B',
  kRestored = 'K',  // timeline, ~instant   -> what a restore put where
  kRemoved = 'R',   // volume                             -> JSON of a volume that was removed
  kTimeline = 'T',  // timeline                           -> JSON
  kMark = 'M',      // volume, label                      -> JSON
  kCounters = 'G',  //                                    -> JSON
  kLost = 'L',  // a key                              -> a key: what lay from here to there is lost
};

inline constexpr size_t kInstantBytes = 8;

// Prefixes of versioned keys, to which AppendInstant adds the version.
std::string InodePrefix(TimelineId timeline, Ino ino);
std::string NamePrefix(TimelineId timeline, Ino parent, uint64_t cookie, std::string_view name);
std::string ChunkPrefix(TimelineId timeline, Ino ino, uint64_t chunk);
std::string XattrPrefix(TimelineId timeline, Ino ino, std::string_view name);
std::string SamplePrefix(TimelineId timeline);

std::string HeadNameKey(TimelineId timeline, Ino parent, uint64_t cookie, std::string_view name);
std::string HeadDirKey(TimelineId timeline, Ino dir);
std::string OrphanKey(TimelineId timeline, Ino ino);
std::string CoveredKey(TimelineId timeline);
std::string VolumeKey(std::string_view name);
std::string EmptyingKey(TimelineId timeline, uint32_t segment);
std::string SettledKey(TimelineId timeline);
std::string HeldKey(TimelineId timeline, uint32_t segment);
// Of the two above: timeline and segment. Throws Refused(EIO).
std::pair<TimelineId, uint32_t> SplitSegmentKey(std::string_view key);
// A version of a chunk in `timeline` that refers to a segment of `of`.
struct BroughtBack {
  TimelineId timeline = 0, of = 0;
  uint32_t segment = 0;
  Instant at;
};
std::string BroughtBackKey(const BroughtBack& parts);
std::string BroughtBackPrefix(const BroughtBack& parts);  // of all instants
BroughtBack SplitBroughtBackKey(std::string_view key);    // throws Refused(EIO)
std::string RestoredPrefix(TimelineId timeline);          // of a versioned key
std::string RemovedKey(VolumeId volume);
std::string TimelineKey(TimelineId timeline);
std::string MarkKey(VolumeId volume, std::string_view label);
std::string CountersKey();

// Everything of one type and timeline (and inode) starts with these.
std::string TypePrefix(KeyType type, TimelineId timeline);
std::string InoPrefix(KeyType type, TimelineId timeline, Ino ino);

// What a key of type kChunk is made of.
struct ChunkVersionKey {
  TimelineId timeline = 0;
  Ino ino = 0;
  uint64_t chunk = 0;
  Instant at;
};
ChunkVersionKey SplitChunkKey(std::string_view key);  // throws Refused(EIO)

void AppendInstant(std::string* key, Instant at);
std::string WithInstant(std::string prefix, Instant at);
Instant InstantOf(std::string_view versioned_key);  // the key must end in an instant

// The first key after all that start with `prefix`.
std::string AfterPrefix(std::string prefix);

// The place of a name in its directory: a keyed hash, so that the order is stable whatever else is
// created or removed, and nobody can make names collide. Always greater than 16 and less than 2^63.
// (XXH3 64, https://github.com/Cyan4973/xxHash)
uint64_t NameCookie(uint64_t seed, std::string_view name);

}  // namespace rw
