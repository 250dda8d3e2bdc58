#include "plugin/operate_endpoints.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// Who uses the volumes, and how the engine's volume of that name is known to be this one.
Json UseFacts(Volumes& volumes, const std::vector<std::string>& names) {
  Json list = Json::array();
  for (const std::string& name : names) {
    const std::optional<VolumeFacts> facts = volumes.Find(name);
    if (!facts) throw Refused(ENOENT, "no such volume: " + Quoted(name));
    Json mounts = Json::array();
    for (const MountHolder& holder : facts->holders) mounts.push_back(holder.id);
    list.push_back({{"Name", name},
                    {"Mounts", mounts},
                    {"Created", FormatInstant(facts->record.created)},
                    {"Writable", facts->record.writable()},
                    {"Holders", volumes.HeadHolders(name)}});
  }
  return list;
}

Json Uses(Volumes& volumes, const Json& request) {
  return {{"Volumes", UseFacts(volumes, TextList(request, "Names"))}};
}

// The first of prefix-1, prefix-2, … that none of the volumes has.
std::string UnusedLabel(Volumes& volumes, const std::vector<std::string>& names,
                        const std::string& prefix) {
  std::set<std::string> used;
  for (const std::string& name : names) {
    for (const Mark& mark : volumes.Marks(name)) used.insert(mark.label);
  }
  for (size_t number = 1;; ++number) {
    std::string label = prefix + std::to_string(number);
    if (!used.contains(label)) return label;
  }
}

// Refuses what RollBack would refuse of volumes that nobody uses; says what it would do.
Json PrepareRollBack(Volumes& volumes, const Json& request) {
  const std::vector<std::string> names = TextList(request, "Names");
  const Instant at = volumes.InstantOfAll(names, Text(request, "At"));
  volumes.store().CheckRollBack(names, at);
  return {{"At", FormatInstant(at)},
          {"Label", UnusedLabel(volumes, names, "before-rollback-")},
          {"Volumes", UseFacts(volumes, names)}};
}

Json RollBack(Volumes& volumes, const Json& request) {
  const std::vector<std::string> names = TextList(request, "Names");
  const Instant at = volumes.InstantOfAll(names, Text(request, "At"));
  const Instant before = volumes.RollBackAll(names, at, OptionalText(request, "Label").value_or(""),
                                             OptionalText(request, "Note").value_or(""));
  return {{"At", FormatInstant(at)}, {"Before", FormatInstant(before)}};
}

// Refuses what a mark of now would be refused.
Json PrepareMark(Volumes& volumes, const Json& request) {
  std::vector<std::string> names = TextList(request, "Names");
  if (Flag(request, "All")) names = volumes.WritableNames();
  if (names.empty()) throw Refused(EINVAL, "a mark needs a volume");
  volumes.CheckMark(names, Text(request, "Label"), OptionalText(request, "Note").value_or(""));
  return {{"Volumes", UseFacts(volumes, names)}};
}

// An instant at which no volume had more users than the request says.
Json QuietInstant(Volumes& volumes, const Json& request) {
  std::map<std::string, int> most;
  const auto found = request.find("Holders");
  if (found == request.end() || !found->is_object() || found->empty())
    throw Refused(EINVAL, "the request needs an object \"Holders\"");
  for (const auto& [name, count] : found->items()) {
    if (!count.is_number_unsigned() || count.get<uint64_t>() > 1'000'000)
      throw Refused(EINVAL, "the number of holders of " + Quoted(name) + " is none");
    most[name] = count.get<int>();
  }
  return {{"Instant", FormatInstant(volumes.InstantHeldAtMost(most))}};
}

Json SetConsistentMark(Volumes& volumes, const Json& request) {
  const std::map<std::string, std::string> how = TextMap(request, "Consistent");
  if (how.empty()) throw Refused(EINVAL, "a mark needs a volume");
  // An instant in full, as QuietInstant gave it.
  const Instant at = volumes.InstantOf(how.begin()->first, Text(request, "At"));
  volumes.SetConsistentMark(how, Text(request, "Label"), OptionalText(request, "Note").value_or(""),
                            at);
  return {{"Instant", FormatInstant(at)}};
}

}  // namespace

const std::map<std::string, Handler>& OperateHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Uses", Uses},
      {"Rewind.PrepareRollBack", PrepareRollBack},
      {"Rewind.RollBack", RollBack},
      {"Rewind.PrepareMark", PrepareMark},
      {"Rewind.QuietInstant", QuietInstant},
      {"Rewind.SetConsistentMark", SetConsistentMark},
  };
  return *handlers;
}

}  // namespace rw
