#include "tests/support/protocol_model.h"

namespace rw::testing {

ProtocolAnswer VolumeModel::Do(const ProtocolCall& call) {
  using Kind = ProtocolCall::Kind;
  ProtocolAnswer answer;
  switch (call.kind) {
    case Kind::kCreate:
      answer.done = !there || options == call.options;
      if (!there) *this = {true, false, call.options, {}};
      return answer;
    case Kind::kRemove:
      answer.done = there ? counts.empty() : removed;
      if (answer.done) *this = {false, true, "", {}};
      return answer;
    case Kind::kMount:
      answer.done = answer.mounted = there;
      if (there) ++counts[call.id];
      return answer;
    case Kind::kUnmount:
      answer.done = true;  // of what is not mounted, too
      if (counts.contains(call.id) && --counts[call.id] == 0) counts.erase(call.id);
      return answer;
    case Kind::kGet:
      for (const auto& [id, count] : counts) answer.holders.insert(id);
      [[fallthrough]];
    case Kind::kPath:
      answer.done = there;
      answer.mounted = !counts.empty();
      return answer;
  }
  return answer;
}

std::string ToText(const ProtocolCall& call) {
  static constexpr const char* kNames[] = {"Create", "Remove", "Mount", "Unmount", "Get", "Path"};
  return std::string(kNames[static_cast<int>(call.kind)]) + " " + call.id + call.options;
}

std::string ToText(const ProtocolAnswer& answer) {
  std::string text = answer.done ? "done" : "refused";
  if (answer.mounted) text += ", mounted";
  for (const std::string& id : answer.holders) text += " " + id;
  return text;
}

}  // namespace rw::testing
