#include "metadata/view.h"

#include <errno.h>

#include <algorithm>
#include <map>
#include <memory>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kNameOffset = 1 + 4 + 8 + 8;  // type, timeline, parent, cookie
constexpr int kStepsBeforeSeek = 3;            // a seek costs about as much

// The names of one directory in one link: for each name the newest version at or before the link's
// instant.
class NameStream {
 public:
  NameStream(Index* index, const View::Link& link, Ino parent, uint64_t after)
      : cursor_(index->NewCursor(InoPrefix(KeyType::kName, link.timeline, parent))),
        until_(link.until) {
    std::string start = NamePrefix(link.timeline, parent, after + 1, "");
    start.pop_back();
    cursor_->Seek(start);
    Settle();
  }

  bool done() const { return done_; }
  const ViewName& current() const { return current_; }  // ino 0: ended here

  void Next() {
    // Past all versions of this name: they share everything before the instant. Most have few.
    for (int step = 0; step < kStepsBeforeSeek; ++step) {
      cursor_->Next();
      if (!cursor_->Valid() || !cursor_->key().starts_with(name_key_)) return Settle();
    }
    name_key_.back() = '\x01';
    cursor_->Seek(name_key_);
    Settle();
  }

 private:
  void Settle() {
    while (cursor_->Valid()) {
      const std::string_view key = cursor_->key();
      if (key.size() < kNameOffset + 1 + kInstantBytes)
        throw Refused(EIO, "index: damaged name key");
      name_key_.assign(key.substr(0, key.size() - kInstantBytes));
      if (InstantOf(key) > until_) {
        cursor_->Seek(WithInstant(name_key_, until_));
        if (!cursor_->Valid()) break;
        if (!cursor_->key().starts_with(name_key_))
          continue;  // no version old enough: the next name
      }
      const NameValue value = DecodeNameValue(cursor_->value());
      current_.name = name_key_.substr(kNameOffset, name_key_.size() - kNameOffset - 1);
      current_.cookie = CookieOf(name_key_);
      current_.ino = value.ino;
      current_.type = value.type;
      return;
    }
    done_ = true;
  }

  static uint64_t CookieOf(std::string_view key) {
    uint64_t cookie = 0;
    for (size_t i = kNameOffset - 8; i < kNameOffset; ++i)
      cookie = cookie << 8 | static_cast<uint8_t>(key[i]);
    return cookie;
  }

  std::unique_ptr<Index::Cursor> cursor_;
  Instant until_;
  std::string name_key_;
  ViewName current_;
  bool done_ = false;
};

bool ComesBefore(const ViewName& a, const ViewName& b) {
  return a.cookie != b.cookie ? a.cookie < b.cookie : a.name < b.name;
}

}  // namespace

uint64_t CutLimit(const std::vector<Cut>& cuts, Instant at) {
  for (const Cut& cut : cuts) {
    if (cut.at >= at)
      return cut.size;  // sizes and instants both increase: the first that applies is the lowest
  }
  return UINT64_MAX;
}

size_t View::LinksOf(Ino ino) const {
  size_t count = 1;
  while (count < chain_.size() && ino < chain_[count - 1].first_ino) ++count;
  return count;
}

std::optional<Inode> View::FindInode(Ino ino) const {
  const size_t links = LinksOf(ino);
  for (size_t i = 0; i < links; ++i) {
    const auto version = index_->FindVersion(InodePrefix(chain_[i].timeline, ino), chain_[i].until);
    if (!version) continue;
    if (version->value.empty()) return std::nullopt;
    return Inode::Decode(version->value, version->at);
  }
  return std::nullopt;
}

std::optional<ViewName> View::FindName(Ino parent, std::string_view name) const {
  const uint64_t cookie = NameCookie(index_->name_seed(), name);
  const size_t links = LinksOf(parent);
  for (size_t i = 0; i < links; ++i) {
    const auto version =
        index_->FindVersion(NamePrefix(chain_[i].timeline, parent, cookie, name), chain_[i].until);
    if (!version) continue;
    const NameValue value = DecodeNameValue(version->value);
    if (value.ino == 0) return std::nullopt;
    return ViewName{std::string(name), cookie, value.ino, value.type};
  }
  return std::nullopt;
}

std::vector<ViewName> View::ListNames(Ino parent, uint64_t after, size_t limit) const {
  std::vector<NameStream> streams;
  const size_t links = LinksOf(parent);
  for (size_t i = 0; i < links; ++i) {
    streams.emplace_back(index_, chain_[i], parent, after);
    if (streams.back().done()) streams.pop_back();
  }
  std::vector<ViewName> names;
  while (!streams.empty()) {
    // Streams are in chain order, so of equal names the first is the newest.
    auto first = std::min_element(streams.begin(), streams.end(),
                                  [](const NameStream& a, const NameStream& b) {
                                    return ComesBefore(a.current(), b.current());
                                  });
    const ViewName name = first->current();
    if (name.ino != 0) {
      if (names.size() >= limit && names.back().cookie != name.cookie) break;
      names.push_back(name);
    }
    for (NameStream& stream : streams) {
      if (stream.current().cookie == name.cookie && stream.current().name == name.name)
        stream.Next();
    }
    std::erase_if(streams, [](const NameStream& stream) { return stream.done(); });
  }
  return names;
}

bool ChunkFold::Add(const ChunkVersion& version, Instant at) {
  const uint64_t limit = CutLimit(cuts_, at);
  if (limit <= start_) return false;  // whatever is older is cut away as well
  for (const Extent& extent : version.extents) {
    if (start_ + extent.offset >= limit) break;
    const bool clipped = start_ + extent.end() > limit;
    ChunkMap::PutUnder(
        clipped ? extent.Slice(extent.offset, static_cast<uint32_t>(limit - start_)) : extent,
        &covered_);
  }
  return !version.full;
}

std::vector<Extent> ChunkFold::Take() {
  std::erase_if(covered_, [](const Extent& extent) { return extent.hole(); });
  return std::move(covered_);
}

ChunkMap View::FindChunk(Ino ino, uint64_t chunk, const std::vector<Cut>& cuts) const {
  ChunkMap map;
  ChunkFold fold(chunk, cuts);
  bool go_on = true;
  bool newest = true;
  const size_t links = LinksOf(ino);
  for (size_t i = 0; i < links && go_on; ++i) {
    const std::string prefix = ChunkPrefix(chain_[i].timeline, ino, chunk);
    const auto cursor = index_->NewCursor(prefix);
    for (cursor->Seek(WithInstant(prefix, chain_[i].until)); go_on && cursor->Valid();
         cursor->Next()) {
      const ChunkVersion version = ChunkVersion::Decode(cursor->value(), chain_[i].timeline);
      if (newest) {
        map.own = i == 0;
        map.depth = version.depth;
        newest = false;
      }
      go_on = fold.Add(version, InstantOf(cursor->key()));
    }
  }
  map.Assign(fold.Take());
  return map;
}

std::optional<uint64_t> View::NextChunk(Ino ino, uint64_t chunk) const {
  constexpr size_t kChunkOffset = 1 + 4 + 8;
  std::optional<uint64_t> nearest;
  const size_t links = LinksOf(ino);
  for (size_t i = 0; i < links; ++i) {
    const Link& link = chain_[i];
    const auto cursor = index_->NewCursor(InoPrefix(KeyType::kChunk, link.timeline, ino));
    cursor->Seek(ChunkPrefix(link.timeline, ino, chunk));
    while (cursor->Valid()) {
      const std::string prefix(cursor->key().substr(0, cursor->key().size() - kInstantBytes));
      if (InstantOf(cursor->key()) > link.until) {
        cursor->Seek(WithInstant(prefix, link.until));
        if (!cursor->Valid()) break;
        if (!cursor->key().starts_with(prefix)) continue;
      }
      uint64_t found = 0;
      for (size_t b = 0; b < 8; ++b)
        found = found << 8 | static_cast<uint8_t>(prefix[kChunkOffset + b]);
      if (!nearest || found < *nearest) nearest = found;
      break;
    }
  }
  return nearest;
}

std::optional<std::string> View::FindXattr(Ino ino, std::string_view name) const {
  const size_t links = LinksOf(ino);
  for (size_t i = 0; i < links; ++i) {
    const auto version =
        index_->FindVersion(XattrPrefix(chain_[i].timeline, ino, name), chain_[i].until);
    if (!version) continue;
    if (version->value.empty()) return std::nullopt;
    return version->value.substr(1);
  }
  return std::nullopt;
}

std::vector<std::string> View::ListXattrs(Ino ino) const {
  constexpr size_t kXattrNameOffset = 1 + 4 + 8;
  std::map<std::string, bool> present;
  const size_t links = LinksOf(ino);
  for (size_t i = 0; i < links; ++i) {
    const Link& link = chain_[i];
    const std::string prefix = InoPrefix(KeyType::kXattr, link.timeline, ino);
    const auto cursor = index_->NewCursor(prefix);
    cursor->Seek(prefix);
    while (cursor->Valid()) {
      std::string name_key(cursor->key().substr(0, cursor->key().size() - kInstantBytes));
      if (InstantOf(cursor->key()) > link.until) {
        cursor->Seek(WithInstant(name_key, link.until));
        if (!cursor->Valid()) break;
        if (!cursor->key().starts_with(name_key)) continue;
      }
      present.emplace(name_key.substr(kXattrNameOffset, name_key.size() - kXattrNameOffset - 1),
                      !cursor->value().empty());
      name_key.back() = '\x01';
      cursor->Seek(name_key);
    }
  }
  std::vector<std::string> names;
  for (const auto& [name, there] : present) {
    if (there) names.push_back(name);
  }
  return names;
}

}  // namespace rw
