#include "plugin/container_order.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <utility>

namespace rw {
namespace {

using Service = std::pair<std::string, std::string>;  // project, service

Service ServiceOf(const Container& container) {
  return {ProjectOf(container), container.Label("com.docker.compose.service")};
}

// What a service needs, by name, and the condition: `db:service_healthy:true,cache`.
std::map<std::string, std::string> NeedsOf(const Container& container) {
  std::map<std::string, std::string> needs;
  std::istringstream items(container.Label("com.docker.compose.depends_on"));
  for (std::string item; std::getline(items, item, ',');) {
    std::istringstream parts(item);
    std::string name, condition;
    std::getline(parts, name, ':');
    std::getline(parts, condition, ':');
    if (!name.empty()) needs[name] = condition;
  }
  return needs;
}

// Services that each service needs, directly or through others.
class Needs {
 public:
  explicit Needs(const std::vector<Container>& containers) {
    for (const Container& container : containers) {
      const Service service = ServiceOf(container);
      for (const auto& [name, condition] : NeedsOf(container))
        direct_[service].insert({service.first, name});
    }
  }
  bool Reach(const Service& from, const Service& to) const {
    std::set<Service> seen;
    std::vector<Service> open = {from};
    while (!open.empty()) {
      const Service service = open.back();
      open.pop_back();
      const auto found = direct_.find(service);
      if (found == direct_.end()) continue;
      for (const Service& next : found->second) {
        if (next == to) return true;
        if (seen.insert(next).second) open.push_back(next);
      }
    }
    return false;
  }

 private:
  std::map<Service, std::set<Service>> direct_;
};

}  // namespace

std::string ProjectOf(const Container& container) {
  return container.Label("com.docker.compose.project");
}

bool NeedsHealthy(const Container& dependent, const Container& other) {
  if (ProjectOf(dependent).empty() || ProjectOf(dependent) != ProjectOf(other)) return false;
  const auto needs = NeedsOf(dependent);
  const auto found = needs.find(ServiceOf(other).second);
  return found != needs.end() && found->second == "service_healthy";
}

std::vector<Container> InStopOrder(std::vector<Container> containers,
                                   const std::vector<Container>& projects) {
  std::stable_sort(containers.begin(), containers.end(),
                   [](const auto& a, const auto& b) { return a.started_at > b.started_at; });
  std::vector<Container> all = containers;
  all.insert(all.end(), projects.begin(), projects.end());
  const Needs needs(all);
  const auto depends = [&](const Container& a, const Container& b) {
    if (a.joined.contains(b.id) || a.joined.contains(b.name)) return true;
    const Service service = ServiceOf(a);
    return !service.first.empty() && service != ServiceOf(b) && needs.Reach(service, ServiceOf(b));
  };
  std::vector<Container> ordered;
  while (!containers.empty()) {
    // The last started of those on which nobody depends any more.
    auto next = std::find_if(containers.begin(), containers.end(), [&](const Container& one) {
      return std::none_of(containers.begin(), containers.end(), [&](const Container& other) {
        return &other != &one && depends(other, one);
      });
    });
    if (next == containers.end()) next = containers.begin();
    ordered.push_back(std::move(*next));
    containers.erase(next);
  }
  return ordered;
}

}  // namespace rw
