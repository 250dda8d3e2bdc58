// The past of one volume by wall clock, for those who look for something in it: which instants can
// be looked at, and which versions of names and inodes they see. Read straight from the index; no
// lock of the volume is held, and nothing is pinned: what stops being kept meanwhile is found or
// not, and what was found may be refused when it is opened.
//
// Thread safety: a Past is constant; a walk belongs to one thread. Errors: Refused(EIO).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/record.h"
#include "fs/timeline.h"
#include "metadata/kept.h"
#include "metadata/view.h"

namespace rw {

class Past {
 public:
  // From `from` to `to` the volume was bound to one timeline.
  struct Span {
    Instant from, to;
    std::vector<View::Link> chain;  // as of `to`
    KeptInstants kept;              // of the timeline
  };
  // A version that a view sees.
  struct Version {
    TimelineId timeline = 0;
    Instant at;
    std::string value;  // empty: ended
  };
  // What a path led to.
  struct Found {
    Ino ino = 0;        // 0: there was nothing
    uint32_t type = 0;  // S_IFMT bits
    Instant since;      // it led there since then, at the latest
  };

  // `spans`: oldest first, without those that are gone.
  Past(const StoreContext& context, std::string name, Instant now, std::vector<Span> spans)
      : context_(context), name_(std::move(name)), now_(now), spans_(std::move(spans)) {}

  const std::string& name() const { return name_; }
  Instant now() const { return now_; }
  const std::vector<Span>& spans() const { return spans_; }
  Index* index() const { return context_.index; }

  // The newest instant at or before `at` that can be looked at.
  std::optional<Instant> LastReadable(Instant at) const;
  // The oldest one at or after `at`.
  std::optional<Instant> FirstReadable(Instant at) const;
  // The span that `at` lies in; throws Refused(ERANGE) if it lies in none.
  const Span& SpanAt(Instant at) const;
  View ViewAt(Instant at) const;

  // Where the path led at `at`, which lies in the span. Symlinks are not followed.
  Found Find(const Span& span, const std::vector<std::string>& path, Instant at) const;
  // The newest version of the inode at or before `at`.
  std::optional<Version> FindInode(const Span& span, Ino ino, Instant at) const;
  // The record of an operation, if its journal still has it.
  std::optional<RecordBody> FindRecord(TimelineId timeline, Instant at) const;

 private:
  template <typename PrefixOf>
  std::optional<Version> FindVersion(const Span& span, Ino owner, Instant at,
                                     PrefixOf prefix_of) const;

  StoreContext context_;
  std::string name_;
  Instant now_;
  std::vector<Span> spans_;
};

// Names between slashes; those that are empty or "." say nothing. Throws Refused(EINVAL) for "..",
// and for names that are too long.
std::vector<std::string> SplitPath(std::string_view path);
std::string JoinPath(const std::vector<std::string>& names);  // begins with a slash

// Versions of one inode that a span sees, from the newest to older ones.
class InodeVersions {
 public:
  InodeVersions(Index* index, const Past::Span& span, Ino ino);
  // The newest at or before `at`, which must not increase from call to call.
  std::optional<Past::Version> AtOrBefore(Instant at);

 private:
  Index* index_;
  const Past::Span& span_;
  Ino ino_;
  size_t link_ = 0;
  std::unique_ptr<Index::Cursor> cursor_;  // of the link
};

// Where directories lie. Not thread-safe.
class DirectoryPaths {
 public:
  explicit DirectoryPaths(View view) : view_(std::move(view)) {}
  // Names from the root on; nothing if it was not there, or nowhere.
  std::optional<std::vector<std::string>> Find(Ino directory);

 private:
  // Looks through the directory for `ino`, and remembers the others that it meets.
  void LookInto(Ino directory, const std::vector<std::string>& path, Ino ino);

  View view_;
  std::unordered_map<Ino, std::vector<std::string>> found_;
};

}  // namespace rw
