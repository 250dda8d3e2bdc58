#include "fs/past.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/scanner.h"
#include "fs/volume.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr size_t kNamesAtOnce = 1024;
constexpr size_t kMaxPaths = 1 << 16;  // that are remembered
constexpr int kMaxDepth = 4096;        // of directories; more are a loop, which is damage
constexpr int kStepsBeforeSeek = 4;    // a seek costs about as much

}  // namespace

std::optional<Instant> Past::LastReadable(Instant at) const {
  for (auto span = spans_.rbegin(); span != spans_.rend(); ++span) {
    if (span->from > at) continue;
    const Instant last = std::min(at, span->to);
    const auto kept = span->kept.Contains(last) ? last : span->kept.Previous(last);
    if (kept && *kept >= span->from) return kept;
  }
  return std::nullopt;
}

std::optional<Instant> Past::FirstReadable(Instant at) const {
  for (const Span& span : spans_) {
    if (span.to < at) continue;
    const auto kept = span.kept.FirstIn(std::max(at, span.from), Instant{span.to.ns + 1});
    if (kept) return kept;
  }
  return std::nullopt;
}

const Past::Span& Past::SpanAt(Instant at) const {
  for (const Span& span : spans_) {
    if (span.from <= at && at <= span.to) return span;
  }
  throw Refused(ERANGE, "nothing is known of " + name_ + " at " + FormatInstant(at));
}

View Past::ViewAt(Instant at) const {
  std::vector<View::Link> chain = SpanAt(at).chain;
  for (View::Link& link : chain) link.until = std::min(link.until, at);
  return {context_.index, std::move(chain)};
}

template <typename PrefixOf>
std::optional<Past::Version> Past::FindVersion(const Span& span, Ino owner, Instant at,
                                               PrefixOf prefix_of) const {
  for (const View::Link& link : span.chain) {
    auto version = context_.index->FindVersion(prefix_of(link.timeline), std::min(link.until, at));
    if (version) return Version{link.timeline, version->at, std::move(version->value)};
    if (owner >= link.first_ino) break;  // made in this timeline
  }
  return std::nullopt;
}

Past::Found Past::Find(const Span& span, const std::vector<std::string>& path, Instant at) const {
  Found found{kRootIno, S_IFDIR, span.from};
  for (const std::string& name : path) {
    if (found.type != S_IFDIR) return {0, 0, found.since};
    const uint64_t cookie = NameCookie(context_.index->name_seed(), name);
    const Ino parent = found.ino;
    const auto version = FindVersion(span, parent, at, [&](TimelineId timeline) {
      return NamePrefix(timeline, parent, cookie, name);
    });
    if (!version) return {0, 0, found.since};
    const NameValue value = DecodeNameValue(version->value);
    found = {value.ino, value.type, std::max(found.since, version->at)};
    if (found.ino == 0) return found;
  }
  return found;
}

std::optional<Past::Version> Past::FindInode(const Span& span, Ino ino, Instant at) const {
  return FindVersion(span, ino, at,
                     [&](TimelineId timeline) { return InodePrefix(timeline, ino); });
}

std::optional<RecordBody> Past::FindRecord(TimelineId timeline, Instant at) const {
  const auto sample = context_.index->FindSample(timeline, at);
  JournalPosition from = sample ? sample->position : JournalPosition{};
  if (from.segment == 0) {
    for (const SegmentInfo& segment : context_.segments->List(timeline)) {
      if (from.segment != 0 && segment.generation > at.ns) break;
      from = {segment.number, kSegmentHeaderBytes};
    }
    if (from.segment == 0) return std::nullopt;
  }
  try {
    JournalScanner scanner(context_.files, context_.segments->TimelineDirectory(timeline), timeline,
                           from, Instant{});
    while (const auto scanned = scanner.Next()) {
      if (scanned->header.instant > at) break;
      if (scanned->header.instant == at && scanned->header.type != RecordType::kSegmentEnd)
        return RecordBody::Decode(scanned->body, at, timeline);
    }
  } catch (const Refused&) {
    // It went while it was read, or is damaged: what it would have told is left out.
  }
  return std::nullopt;
}

std::vector<std::string> SplitPath(std::string_view path) {
  const auto refuse = [&](const std::string& why) {
    throw Refused(EINVAL, "path " + Quoted(path) + " refused: " + why +
                              "; accepted is a path from the volume's root, such as /data/file");
  };
  std::vector<std::string> names;
  if (path.find('\0') != path.npos) refuse("it contains a NUL");
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    if (name.empty() || name == ".") continue;
    if (name == "..") refuse("it contains ..");
    if (name.size() > kMaxNameBytes) refuse("a name in it is longer than 255 bytes");
    names.emplace_back(name);
  }
  return names;
}

std::string JoinPath(const std::vector<std::string>& names) {
  std::string path;
  for (const std::string& name : names) path += "/" + name;
  return path.empty() ? "/" : path;
}

InodeVersions::InodeVersions(Index* index, const Past::Span& span, Ino ino)
    : index_(index), span_(span), ino_(ino) {}

std::optional<Past::Version> InodeVersions::AtOrBefore(Instant at) {
  for (; link_ < span_.chain.size(); ++link_, cursor_.reset()) {
    const View::Link& link = span_.chain[link_];
    const Instant until = std::min(link.until, at);
    const std::string prefix = InodePrefix(link.timeline, ino_);
    if (!cursor_) {
      cursor_ = index_->NewCursor(prefix);
      cursor_->Seek(WithInstant(prefix, until));
    }
    for (int step = 0; cursor_->Valid() && InstantOf(cursor_->key()) > until; ++step) {
      if (step < kStepsBeforeSeek) {
        cursor_->Next();
      } else {
        cursor_->Seek(WithInstant(prefix, until));
      }
    }
    if (cursor_->Valid())
      return Past::Version{link.timeline, InstantOf(cursor_->key()), std::string(cursor_->value())};
    if (ino_ >= link.first_ino) break;
  }
  return std::nullopt;
}

void DirectoryPaths::LookInto(Ino directory, const std::vector<std::string>& path, Ino ino) {
  for (uint64_t after = kFirstCookie;;) {
    const std::vector<ViewName> names = view_.ListNames(directory, after, kNamesAtOnce);
    for (const ViewName& name : names) {
      if (name.type != S_IFDIR || (found_.size() >= kMaxPaths && name.ino != ino)) continue;
      std::vector<std::string> its = path;
      its.push_back(name.name);
      found_[name.ino] = std::move(its);
    }
    if (names.size() < kNamesAtOnce || found_.contains(ino)) return;
    after = names.back().cookie;
  }
}

std::optional<std::vector<std::string>> DirectoryPaths::Find(Ino directory) {
  std::vector<Ino> climbed;  // from the one that is asked for, to below one that is known
  std::vector<std::string> path;
  Ino at = directory;
  while (at != kRootIno) {
    if (const auto known = found_.find(at); known != found_.end()) {
      path = known->second;
      break;
    }
    climbed.push_back(at);
    const auto inode = view_.FindInode(at);
    if (!inode || !inode->is_dir() || inode->nlink == 0 || climbed.size() > kMaxDepth)
      return std::nullopt;
    at = inode->parent;
  }
  if (found_.size() >= kMaxPaths) found_.clear();
  for (auto ino = climbed.rbegin(); ino != climbed.rend(); ++ino) {
    LookInto(at, path, *ino);
    const auto found = found_.find(*ino);
    if (found == found_.end()) return std::nullopt;
    path = found->second;
    at = *ino;
  }
  return path;
}

}  // namespace rw
