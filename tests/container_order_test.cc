// Goal: containers are stopped before those that they need, whatever else was started when.
// Method: the order of containers that exist only as what the engine would say of them.
#include "plugin/container_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rw {
namespace {

using ::testing::ElementsAre;

Container Make(const std::string& name, uint64_t started, const std::string& needs = "",
               const std::string& project = "shop") {
  Container container;
  container.id = "id-" + name;
  container.name = name;
  container.started_at = Instant{started};
  if (project.empty()) return container;
  container.labels = {{"com.docker.compose.project", project},
                      {"com.docker.compose.service", name},
                      {"com.docker.compose.depends_on", needs}};
  return container;
}

std::vector<std::string> Order(const std::vector<Container>& containers,
                               const std::vector<Container>& projects = {}) {
  std::vector<std::string> names;
  for (const Container& container : InStopOrder(containers, projects))
    names.push_back(container.name);
  return names;
}

TEST(ContainerOrderTest, LastStartedFirstIfNobodyNeedsAnother) {
  EXPECT_THAT(Order({Make("a", 2, "", ""), Make("b", 3, "", ""), Make("c", 1, "", "")}),
              ElementsAre("b", "a", "c"));
  EXPECT_THAT(Order({}), ElementsAre());
}

TEST(ContainerOrderTest, DependentsFirst) {
  EXPECT_THAT(Order({Make("db", 9), Make("web", 1, "db:service_started:false,cache"),
                     Make("cache", 5), Make("other", 7, "", "")}),
              ElementsAre("other", "web", "db", "cache"));
}

TEST(ContainerOrderTest, ThroughThoseThatAreNotStopped) {
  const Container api = Make("api", 3, "db:service_healthy:true");
  EXPECT_THAT(Order({Make("db", 9), Make("web", 1, "api")}, {api}), ElementsAre("web", "db"));
  EXPECT_THAT(Order({Make("db", 9), Make("web", 1, "api")}), ElementsAre("db", "web"));
}

TEST(ContainerOrderTest, ServicesOfAnotherProjectAreOthers) {
  EXPECT_THAT(Order({Make("db", 9, "", "blog"), Make("web", 1, "db", "shop")}),
              ElementsAre("db", "web"));
}

TEST(ContainerOrderTest, WhoSharesANamespaceBeforeWhoOwnsIt) {
  Container guest = Make("guest", 1, "", "");
  guest.joined = {"id-owner"};
  EXPECT_THAT(Order({Make("owner", 9, "", ""), guest}), ElementsAre("guest", "owner"));
}

TEST(ContainerOrderTest, ACircleIsOrderedByItsStart) {
  EXPECT_THAT(Order({Make("a", 1, "b"), Make("b", 2, "a"), Make("c", 3, "a")}),
              ElementsAre("c", "b", "a"));
}

TEST(ContainerOrderTest, HealthIsNeededWhereItIsSaid) {
  const Container web = Make("web", 1, "db:service_healthy:true,cache:service_started:false");
  EXPECT_TRUE(NeedsHealthy(web, Make("db", 2)));
  EXPECT_FALSE(NeedsHealthy(web, Make("cache", 2)));
  EXPECT_FALSE(NeedsHealthy(web, Make("db", 2, "", "blog")));
  EXPECT_FALSE(NeedsHealthy(web, Make("db", 2, "", "")));
}

}  // namespace
}  // namespace rw
