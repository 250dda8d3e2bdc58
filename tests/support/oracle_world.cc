#include "tests/support/oracle_world.h"

#include <errno.h>

#include <algorithm>

#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

bool ChangesNothing(const Operation& operation) {
  return operation.kind == OperationKind::kForget || operation.kind == OperationKind::kCopyRange ||
         (operation.kind == OperationKind::kWrite && operation.data.empty());
}

CreateRequest Request(const std::string& name, SourceKind kind, const std::string& source) {
  CreateRequest request;
  request.name = name;
  request.source_kind = kind;
  request.source = source;
  return request;
}

std::string Where(const std::string& what, const std::string& problem) {
  return problem.empty() ? problem : what + ": " + problem;
}

}  // namespace

OracleWorld::OracleWorld(uint64_t seed, const OperationProfile& profile, std::filesystem::path root)
    : random_(seed),
      operations_(seed + 1, profile),
      options_(std::move(root), SystemNanoseconds),
      store_(Store::Open(options_)) {}

OracleWorld::~OracleWorld() {
  members_.clear();  // volumes must go before their store
}

std::string OracleWorld::FreeName() {
  // Few names, so that those of removed volumes are used again.
  for (;;) {
    std::string name = "volume-" + std::to_string(random_.Below(16));
    if (std::none_of(members_.begin(), members_.end(),
                     [&](const auto& member) { return member->twin.name == name; })) {
      return name;
    }
  }
}

OracleWorld::Member* OracleWorld::AnyWritable() {
  for (int tries = 0; tries < 1000; ++tries) {
    if (Member& member = AnyMember(); !member.snapshot) return &member;
  }
  return nullptr;
}

Instant OracleWorld::AnyInstant(const Member& member) {
  const auto& instants = member.twin.model.instants();
  const size_t i = random_.Below(instants.size());
  switch (random_.Below(5)) {
    case 0:
      return i == 0 ? instants[0] : Before(instants[i]);
    case 1:
      if (i + 1 < instants.size())
        return {instants[i].ns + (instants[i + 1].ns - instants[i].ns) / 2};
      return store_->Now();
    default:
      return instants[i];
  }
}

OracleWorld::Member& OracleWorld::AddMember(Twin twin, bool snapshot) {
  twin.volume = store_->OpenVolume(twin.name);
  members_.push_back(std::make_unique<Member>(Member{std::move(twin), snapshot}));
  return *members_.back();
}

std::string OracleWorld::AddVolume() {
  const std::string name = FreeName();
  store_->Create(Request(name, SourceKind::kNone, {}));
  const auto record = store_->Find(name);
  auto volume = store_->OpenVolume(name);
  const auto root = volume->FindInode(kRootIno);
  if (!root.has_value()) return name + ": a new volume has no root";
  ReferenceModel model(record->created, *root);
  Member& member =
      AddMember({name, nullptr, std::move(model), {{kModelRoot, kRootIno}}, true}, false);
  return CheckAt(member, record->created);
}

std::string OracleWorld::Operate() {
  Member& member = AnyMember();
  const Operation operation = operations_.Next(member.twin.model);
  if (!member.snapshot) {
    std::string problem = member.twin.Step(operation);
    if (problem.empty() && random_.OneIn(5)) problem = member.twin.CheckRandomRead(random_);
    return problem;
  }
  std::string problem;
  Ino created = 0;
  const int error =
      ApplyToVolume(*member.twin.volume, member.twin.inos, operation, &created, &problem);
  // Only what is senseless anywhere may be refused otherwise, and only what changes nothing may
  // succeed.
  const bool senseless = error == EINVAL || error == EOPNOTSUPP || error == EFBIG;
  if (error == EROFS || (senseless && operation.flags != 0) || ChangesNothing(operation)) return {};
  return member.twin.name + ": " + operation.Describe() + " on a snapshot volume: errno " +
         std::to_string(error) + ", expected EROFS";
}

std::string OracleWorld::CheckAt(const Member& member, Instant at) {
  ++checks_;
  if (member.snapshot) return member.twin.CheckView(*member.twin.volume, at);
  auto view = store_->OpenAt(member.twin.name, at);
  if (view->writable()) return member.twin.name + ": a view at an instant is writable";
  if (view->fixed_at() != at) return member.twin.name + ": the view shows another instant";
  return member.twin.CheckView(*view, at);
}

std::string OracleWorld::CheckSomewhere() {
  const Member& member = AnyMember();
  if (member.snapshot) return CheckAt(member, member.twin.model.instants()[0]);
  if (random_.OneIn(10)) {
    ++checks_;
    return Where("head", member.twin.CheckView(*member.twin.volume, kInstantMax));
  }
  return CheckAt(member, AnyInstant(member));
}

std::string OracleWorld::CheckEverywhere() {
  for (const auto& member : members_) {
    const auto& instants = member->twin.model.instants();
    std::string problem = CheckAt(*member, instants[0]);
    if (member->snapshot || !problem.empty()) {
      if (problem.empty()) continue;
      return problem;
    }
    problem = Where("head", member->twin.CheckView(*member->twin.volume, kInstantMax));
    if (problem.empty()) problem = CheckAt(*member, store_->Now());
    for (int i = 0; i < 2 && problem.empty(); ++i) problem = CheckAt(*member, AnyInstant(*member));
    if (!problem.empty()) return problem;
  }
  return {};
}

std::string OracleWorld::ExpectRefused(int error, const std::string& in_message,
                                       const CreateRequest& request) {
  try {
    store_->Create(request);
  } catch (const Refused& refused) {
    if (refused.error() == error &&
        std::string(refused.what()).find(in_message) != std::string::npos) {
      if (store_->Find(request.name).has_value() && error != EEXIST) return "made what it refused";
      return {};
    }
    return "refused with errno " + std::to_string(refused.error()) + ", expected " +
           std::to_string(error) + " and '" + in_message + "' in: " + refused.what();
  }
  return "not refused, expected errno " + std::to_string(error);
}

std::string OracleWorld::CheckRefusals() {
  const Member* member = AnyWritable();
  if (member == nullptr) return {};
  const std::string& source = member->twin.name;
  const Instant first = member->twin.model.instants()[0];
  CreateRequest request = Request(FreeName(), SourceKind::kCloneOf, source);
  request.at = Before(first);
  std::string problem = Where("clone from before the first instant",
                              ExpectRefused(ERANGE, FormatInstant(first), request));
  if (!problem.empty()) return problem;
  request.source_kind = SourceKind::kSnapshotOf;
  request.at = Instant{store_->Now().ns + 3'600'000'000'000};
  problem = Where("snapshot in the future", ExpectRefused(ERANGE, "", request));
  if (!problem.empty()) return problem;
  request.source_kind = SourceKind::kRollback;
  request.at = first;
  problem = Where("rollback of an open volume", ExpectRefused(EBUSY, source, request));
  if (!problem.empty()) return problem;
  request.source = "no such volume";
  return Where("unknown source", ExpectRefused(ENOENT, request.source, request));
}

std::string OracleWorld::Clone() {
  const Member& source = AnyMember();
  CreateRequest request = Request(FreeName(), SourceKind::kCloneOf, source.twin.name);
  if (!source.snapshot && !random_.OneIn(4)) request.at = AnyInstant(source);
  if (random_.OneIn(4)) request.uid = 33, request.mode = 0710;
  store_->Create(request);
  const auto record = store_->Find(request.name);
  const Instant at = source.snapshot ? source.twin.model.instants()[0] : *record->source_at;
  if (request.at && record->source_at != request.at) return "a clone is of another instant";
  Twin twin{request.name, nullptr, ReferenceModel::CloneOf(source.twin.model, at, record->created),
            source.twin.inos, source.twin.exact_usage && source.twin.model.UnlinkedAt(at).empty()};
  Member& member = AddMember(std::move(twin), false);
  if (request.uid) {
    const auto root = member.twin.volume->FindInode(kRootIno);
    if (!root || root->uid != 33 || (root->mode & 07777) != 0710) return "options of the root lost";
    member.twin.model.AdoptRoot(*root);
  }
  const std::string what = "clone of " + request.source + " at " + std::to_string(at.ns);
  return Where(what, CheckAt(member, record->created));
}

std::string OracleWorld::Snapshot() {
  const Member& source = AnyMember();
  CreateRequest request = Request(FreeName(), SourceKind::kSnapshotOf, source.twin.name);
  if (!source.snapshot && !random_.OneIn(4)) request.at = AnyInstant(source);
  store_->Create(request);
  const auto record = store_->Find(request.name);
  if (!record->fixed_at || (request.at && *record->fixed_at != *request.at)) {
    return "a snapshot volume shows another instant";
  }
  const Instant at = *record->fixed_at;
  Twin twin{request.name, nullptr, ReferenceModel::CloneOf(source.twin.model, at, at),
            source.twin.inos, source.twin.exact_usage && source.twin.model.UnlinkedAt(at).empty()};
  Member& member = AddMember(std::move(twin), true);
  return Where("snapshot of " + request.source, CheckAt(member, at));
}

std::string OracleWorld::RollBack() {
  Member* member = AnyWritable();
  if (member == nullptr) return {};
  Twin& twin = member->twin;
  const Instant to = AnyInstant(*member);
  const std::string what = "rollback of " + twin.name + " to " + std::to_string(to.ns);
  if (random_.OneIn(2)) twin.ForgetAll();
  twin.volume.reset();
  CreateRequest request = Request(FreeName(), SourceKind::kRollback, twin.name);
  request.at = to;
  store_->Create(request);
  const auto record = store_->Find(twin.name);
  const auto undo = store_->Find(request.name);
  const Instant since = record->bindings.back().since;
  if (record->rolled_back_to != to || since <= twin.model.instants().back()) {
    return what + ": wrong record of it";
  }
  if (!undo->fixed_at || *undo->fixed_at >= since ||
      *undo->fixed_at < twin.model.instants().back()) {
    return what + ": the new volume does not show the instant just before";
  }
  Twin before{request.name, nullptr,
              ReferenceModel::CloneOf(twin.model, *undo->fixed_at, *undo->fixed_at), twin.inos,
              twin.exact_usage && twin.model.UnlinkedAt(*undo->fixed_at).empty()};
  twin.exact_usage &= twin.model.UnlinkedAt(to).empty();
  twin.model.RollBack(to, since);
  twin.volume = store_->OpenVolume(twin.name);
  Member& added = AddMember(std::move(before), true);
  std::string problem = Where("head", member->twin.CheckView(*member->twin.volume, kInstantMax));
  if (problem.empty()) problem = CheckAt(*member, since);
  if (problem.empty()) problem = CheckAt(*member, Before(since));
  if (problem.empty()) problem = CheckAt(added, *undo->fixed_at);
  return Where(what, problem);
}

std::string OracleWorld::Restart(bool forget_unlinked) {
  const Instant now = store_->Now();
  std::vector<Instant> newest;
  for (const auto& member : members_) {
    if (forget_unlinked && !member->snapshot) member->twin.ForgetAll();
    newest.push_back(member->twin.volume->last_instant());
    member->twin.volume.reset();
  }
  store_.reset();
  store_ = Store::Open(options_);
  if (store_->Now() <= now) return "after a restart, now is not later";
  for (size_t i = 0; i < members_.size(); ++i) {
    Twin& twin = members_[i]->twin;
    twin.volume = store_->OpenVolume(twin.name);
    if (twin.volume->last_instant() != newest[i]) return twin.name + ": another newest instant";
  }
  return Where("after a restart", CheckEverywhere());
}

std::string OracleWorld::RemoveOne() {
  const size_t which = random_.Below(members_.size());
  Twin twin = members_[which]->twin;
  const Instant at =
      members_[which]->snapshot ? twin.model.instants()[0] : AnyInstant(*members_[which]);
  std::shared_ptr<Volume> view = twin.volume;
  if (!members_[which]->snapshot) {
    view = store_->OpenAt(twin.name, at);
    try {
      store_->Remove(twin.name);
      return "removed " + twin.name + " although its head is open";
    } catch (const Refused& refused) {
      if (refused.error() != EBUSY) return refused.what();
    }
  }
  twin.volume.reset();
  members_.erase(members_.begin() + static_cast<ptrdiff_t>(which));
  store_->Remove(twin.name);
  const std::string what = "after the removal of " + twin.name;
  if (store_->Find(twin.name).has_value()) return what + " it is still there";
  std::string problem = twin.CheckView(*view, at);
  if (!problem.empty()) return what + ", in a view that is open: " + problem;
  view.reset();
  return Where(what, CheckEverywhere());
}

}  // namespace rw::testing
