#include "cni/call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace ocicat::cni {
namespace {

using testing::HasSubstr;

constexpr std::string_view kConfig = R"({"cniVersion":"1.1.0","name":"pods","type":"ocicat-cni"})";

Environment environment(std::string command) {
  return {.command = std::move(command),
          .container_id = "c0ffee",
          .netns = "/run/netns/x",
          .ifname = "eth0",
          .args = "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop"};
}

TEST(Call, IsReadFromTheEnvironmentAndStandardInput) {
  const auto call = read_call(environment("ADD"), kConfig);
  ASSERT_TRUE(call.has_value()) << call.error().details;
  EXPECT_EQ(call->command, Command::kAdd);
  EXPECT_EQ(call->version, Version::k110);
  EXPECT_EQ(call->attachment(), "c0ffee@eth0");
  EXPECT_EQ(call->network, "pods");
  EXPECT_EQ(call->args.at("K8S_POD_NAME"), "web");
}

TEST(Call, ReachesTheAgentAsItCame) {
  for (const auto* command : {"ADD", "DEL", "CHECK", "GC", "STATUS"}) {
    const auto call = read_call(environment(command), kConfig);
    ASSERT_TRUE(call.has_value()) << command;
    const auto message = read_message(to_json(Message{
        .environment = environment_of(*call), .config = call->config, .namespace_path = "/proc/1/fd/3"}));
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->namespace_path, "/proc/1/fd/3");
    const auto again = call_of(*message);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->command, call->command);
    EXPECT_EQ(again->attachment(), call->attachment());
    EXPECT_EQ(again->netns, call->netns);
    EXPECT_EQ(again->args, call->args);
    EXPECT_EQ(again->config, call->config);
  }
  EXPECT_EQ(read_message("{}").error().code, FailureCode::kUndecodable);
  EXPECT_EQ(read_message("nonsense").error().code, FailureCode::kUndecodable);
}

struct Refused {
  const char* name;
  Environment environment;
  std::string config;
  FailureCode code;
  const char* says;
};

TEST(Call, WhatIsWrongWithItIsSaidWithTheCodeOfTheSpecification) {
  const auto changed = [](auto change) {
    auto with = environment("ADD");
    change(with);
    return with;
  };
  const Refused kCases[] = {
      {"no command", environment(""), std::string(kConfig), FailureCode::kInvalidEnvironment, "CNI_COMMAND"},
      {"unknown command", environment("UPDATE"), std::string(kConfig), FailureCode::kInvalidEnvironment,
       "UPDATE"},
      {"no container", changed([](auto& e) { e.container_id.clear(); }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_CONTAINERID"},
      {"a path for a container", changed([](auto& e) { e.container_id = "../etc"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_CONTAINERID"},
      {"no namespace", changed([](auto& e) { e.netns.clear(); }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_NETNS"},
      {"no interface", changed([](auto& e) { e.ifname.clear(); }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"long interface", changed([](auto& e) { e.ifname = "eth0123456789012"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"slash in interface", changed([](auto& e) { e.ifname = "a/b"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"a pattern for an interface", changed([](auto& e) { e.ifname = "eth%d"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"a name of the kernel's for all interfaces", changed([](auto& e) { e.ifname = "all"; }),
       std::string(kConfig), FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"arguments", changed([](auto& e) { e.args = "A=1;B"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "\"B\""},
      {"arguments beyond UTF-8", changed([](auto& e) { e.args = "A=sh\xef-p"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "UTF-8"},
      {"a namespace beyond UTF-8", changed([](auto& e) { e.netns = "/run/netns/sh\xef-p"; }),
       std::string(kConfig), FailureCode::kInvalidEnvironment, "CNI_NETNS is not UTF-8"},
      {"an interface beyond UTF-8", changed([](auto& e) { e.ifname = "eth\xef"; }), std::string(kConfig),
       FailureCode::kInvalidEnvironment, "CNI_IFNAME"},
      {"no JSON", environment("ADD"), "{", FailureCode::kUndecodable, "not JSON"},
      {"no object", environment("ADD"), "[]", FailureCode::kUndecodable, "not an object"},
      {"old version", environment("ADD"), R"({"cniVersion":"0.2.0","name":"x"})",
       FailureCode::kIncompatibleVersion, "0.3.1"},
      {"no version", environment("ADD"), R"({"name":"x"})", FailureCode::kIncompatibleVersion, "cniVersion"},
      {"no name", environment("ADD"), R"({"cniVersion":"1.0.0"})", FailureCode::kInvalidConfiguration,
       "name"},
      {"CHECK before it was", environment("CHECK"), R"({"cniVersion":"0.3.1","name":"x"})",
       FailureCode::kIncompatibleVersion, "0.4.0"},
      {"GC before it was", environment("GC"), R"({"cniVersion":"1.0.0","name":"x"})",
       FailureCode::kIncompatibleVersion, "1.1.0"},
      {"too long", environment("ADD"), std::string(kMostConfig + 1, ' '), FailureCode::kUndecodable,
       "longer"},
  };
  for (const auto& [name, environment, config, code, says] : kCases) {
    SCOPED_TRACE(name);
    const auto call = read_call(environment, config);
    ASSERT_FALSE(call.has_value());
    EXPECT_EQ(call.error().code, code);
    EXPECT_THAT(call.error().details, HasSubstr(says));
  }
}

TEST(Call, DelNeedsNoNamespaceAndTheRestNoContainer) {
  auto deletion = environment("DEL");
  deletion.netns.clear();
  EXPECT_TRUE(read_call(deletion, kConfig).has_value());
  for (const auto* command : {"GC", "STATUS", "VERSION"}) {
    EXPECT_TRUE(read_call({.command = command}, kConfig).has_value()) << command;
  }
  // Whoever asks for versions need not know one.
  EXPECT_TRUE(read_call({.command = "VERSION"}, R"({"cniVersion":"9.9.9"})").has_value());
}

// Or a container whose ADD failed could never be torn down.
TEST(Call, DelTakesWhatCanBeReadAndKnowsWhatNoAddTakes) {
  using Args = std::map<std::string, std::string, std::less<>>;
  for (const auto& [text, args] : {std::pair<std::string, Args>{"foo", {}},
                                   {";;", {}},
                                   {"=x;A=1;B;C=2", {{"A", "1"}, {"C", "2"}}},
                                   {"A=sh\xef-p;K8S_POD_NAME=web", {{"K8S_POD_NAME", "web"}}}}) {
    auto deletion = environment("DEL");
    deletion.args = text;
    deletion.netns = "/run/netns/sh\xef-p";
    const auto call = read_call(deletion, kConfig);
    ASSERT_TRUE(call.has_value()) << call.error().details;
    EXPECT_EQ(call->args, args);
    EXPECT_TRUE(call->may_have_been_added());
    const auto message = read_message(
        to_json(Message{.environment = environment_of(*call), .config = call->config, .namespace_path = {}}));
    ASSERT_TRUE(message.has_value()) << "it is sent as JSON";
    EXPECT_EQ(call_of(*message)->args, args);
  }
  for (const auto& [container, interface] :
       {std::pair<std::string, const char*>{std::string(201, 'x'), "eth0"}, {"../x", "eth0"}, {"c", "a/b"}}) {
    auto deletion = environment("DEL");
    deletion.container_id = container;
    deletion.ifname = interface;
    const auto call = read_call(deletion, kConfig);
    ASSERT_TRUE(call.has_value()) << call.error().details;
    EXPECT_FALSE(call->may_have_been_added());
    deletion.command = "ADD";
    EXPECT_FALSE(read_call(deletion, kConfig).has_value());
  }
}

TEST(Failure, IsAnObjectOfTheSpecification) {
  const auto value = boost::json::parse(
      to_json(Failure{FailureCode::kTryAgainLater, "it does not answer", "see: ocicat status"}, "0.4.0"));
  EXPECT_EQ(value, (boost::json::value{{"cniVersion", "0.4.0"},
                                       {"code", 11U},
                                       {"msg", "it does not answer"},
                                       {"details", "see: ocicat status"}}));
}

}  // namespace
}  // namespace ocicat::cni
