#include "metadata/head_names.h"

#include "metadata/coding.h"

namespace rw {
namespace {

constexpr size_t kFillNames = 1024;  // per call of FillSome
constexpr size_t kMaxKnownComplete = 1 << 16;

}  // namespace

bool HeadNames::complete(Ino dir) {
  const View::Link& own = view_->chain().front();
  if (dir >= own.first_ino) return true;
  if (complete_.contains(dir)) return true;
  if (!index_->Get(HeadDirKey(own.timeline, dir))) return false;
  if (complete_.size() >= kMaxKnownComplete) complete_.clear();
  complete_.insert(dir);
  return true;
}

std::optional<ViewName> HeadNames::Find(Ino parent, std::string_view name) {
  if (!complete(parent)) return view_->FindName(parent, name);
  const uint64_t cookie = NameCookie(index_->name_seed(), name);
  const auto value =
      index_->Get(HeadNameKey(view_->chain().front().timeline, parent, cookie, name));
  if (!value) return std::nullopt;
  const NameValue decoded = DecodeNameValue(*value);
  return ViewName{std::string(name), cookie, decoded.ino, decoded.type};
}

std::vector<ViewName> HeadNames::List(Ino parent, uint64_t after, size_t limit) {
  if (!complete(parent)) return view_->ListNames(parent, after, limit);
  const std::string prefix = InoPrefix(KeyType::kHeadName, view_->chain().front().timeline, parent);
  const auto cursor = index_->NewCursor(prefix);
  std::string start = prefix;
  PutBigEndian(&start, after + 1);
  std::vector<ViewName> names;
  for (cursor->Seek(start); cursor->Valid(); cursor->Next()) {
    const std::string_view rest = cursor->key().substr(prefix.size());
    ViewName name;
    name.cookie = GetBigEndian<uint64_t>(rest.data());
    if (names.size() >= limit && names.back().cookie != name.cookie) break;
    name.name = rest.substr(sizeof(uint64_t));
    const NameValue value = DecodeNameValue(cursor->value());
    name.ino = value.ino;
    name.type = value.type;
    names.push_back(std::move(name));
  }
  return names;
}

bool HeadNames::FillSome(Ino dir, uint64_t* resume_after) {
  if (complete(dir)) return false;
  const TimelineId own = view_->chain().front().timeline;
  const std::vector<ViewName> names = view_->ListNames(dir, *resume_after, kFillNames);
  Index::Entries entries;
  entries.reserve(names.size() + 1);
  for (const ViewName& name : names) {
    entries.emplace_back(HeadNameKey(own, dir, name.cookie, name.name),
                         EncodeNameValue({name.ino, name.type}));
  }
  const bool last = names.size() < kFillNames;
  if (last) {
    entries.emplace_back(HeadDirKey(own, dir), "");
  } else {
    *resume_after = names.back().cookie;
  }
  index_->Rewrite(entries);
  return !last;
}

}  // namespace rw
