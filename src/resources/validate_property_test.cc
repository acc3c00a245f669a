// What validates decodes: valid documents are changed at random, and whichever of them are still valid must
// reach the engine whole.
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "resources/decode.h"
#include "resources/schema.h"
#include "resources/validate.h"
#include "test/source_dir.h"
#include "test/support/random.h"

namespace ocicat {
namespace {

namespace json = boost::json;

std::vector<json::object> seeds() {
  std::vector<json::object> documents;
  const std::filesystem::path folder = test::source_dir() / "fuzz/corpus/yaml_fuzz";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::stringstream text;
    text << std::ifstream(file.path()).rdbuf();
    for (auto& document : read_documents(text.str(), file.path().string()).documents) {
      if (validate(document).ok()) documents.push_back(std::move(document.json));
    }
  }
  return documents;
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t bound) { return random_() % bound; }

  // One change somewhere below `value`, which `field` describes.
  void mutate(json::value& value, const schema::Field& field) {
    if (auto* object = value.if_object(); object != nullptr && field.type == schema::Type::kObject) {
      return mutate_object(*object, field);
    }
    if (auto* list = value.if_array(); list != nullptr && field.element != nullptr)
      return mutate_list(*list, *field.element);
    value = make(field);
  }

 private:
  void mutate_object(json::object& object, const schema::Field& table) {
    const auto& field = table.fields[below(table.fields.size())];
    if (field.name == "kind" || field.name == "apiVersion") return;
    auto* there = object.if_contains(field.name);
    if (there == nullptr) {
      object[field.name] = make(field);
    } else if (below(5) == 0) {
      object.erase(field.name);
    } else {
      mutate(*there, field);
    }
  }

  void mutate_list(json::array& list, const schema::Field& element) {
    const auto choice = below(4);
    if (choice == 0 || list.empty()) {
      list.push_back(make(element));
    } else if (choice == 1) {
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(below(list.size())));
    } else {
      mutate(list[below(list.size())], element);
    }
  }

  json::value make(const schema::Field& field) {
    if (!field.one_of.empty() && below(8) != 0) {
      const auto& word = field.one_of[below(field.one_of.size())];
      if (field.type == schema::Type::kInteger) return std::stoi(word);
      return json::value(word);
    }
    switch (field.type) {
      case schema::Type::kObject: {
        json::object object;
        for (std::size_t i = below(4); i > 0 && !field.fields.empty(); --i) mutate_object(object, field);
        for (const auto& inner : field.fields) {
          if (inner.required && !object.contains(inner.name)) object[inner.name] = make(inner);
        }
        return object;
      }
      case schema::Type::kList: {
        json::array list;
        for (std::size_t i = below(3); i > 0; --i) list.push_back(make(*field.element));
        return list;
      }
      case schema::Type::kMap:
        return json::object{{"key", "value"}, {text(), "x"}};
      case schema::Type::kBoolean:
        return below(2) == 0;
      case schema::Type::kString:
        return json::value(text());
      case schema::Type::kIntOrString:
        return below(2) == 0 ? json::value(text()) : number();
      case schema::Type::kNumber:
        return below(2) == 0 ? json::value(1.5) : number();
      default:
        return number();
    }
  }

  json::value number() {
    static constexpr std::int64_t kNumbers[] = {-1,  0,   1,     4,     6,          8,          17,
                                                26,  32,  58,    80,    128,        132,        254,
                                                255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX};
    return kNumbers[below(std::size(kNumbers))];
  }

  std::string text() {
    static constexpr const char* kTexts[] = {"",
                                             "a",
                                             "a.b",
                                             "eth0",
                                             "default",
                                             "http",
                                             "80",
                                             "1:5",
                                             "5:1",
                                             "tcp",
                                             "TCP",
                                             "ICMP",
                                             "ICMPv6",
                                             "58",
                                             "10.0.0.1",
                                             "10.0.0.1/32",
                                             "10.0.0.0/8",
                                             "10.0.0.1/8",
                                             "0.0.0.0/0",
                                             "fd00::1",
                                             "fd00::/8",
                                             "::/0",
                                             "::ffff:10.0.0.1/128",
                                             "::ffff:10.0.0.0/104",
                                             "all()",
                                             "has(a)",
                                             "a == 'b'",
                                             "global()",
                                             "a in {'b', \"c\"} && !has(d)",
                                             "a ==",
                                             "90s",
                                             "1.5s",
                                             "Auto",
                                             "2026-01-31T12:00:00Z",
                                             "x y",
                                             "A_b",
                                             "-",
                                             "None",
                                             "none",
                                             "02:00:00:00:00:01",
                                             "1.10",
                                             "EF",
                                             "Ingress"};
    return kTexts[below(std::size(kTexts))];
  }

  std::mt19937_64 random_;
};

// "" or what went wrong on the way to the engine.
std::string failure_of(const Validated& valid) {
  const auto again = validate(Document{valid.json, "", 0, {}});
  if (!again.ok()) return "validated again: " + again.complaints[0].to_string();
  if (again.json != valid.json) return "defaults are not stable: " + json::serialize(again.json);
  const auto key = key_of(valid.json);
  if (!key || *key != *valid.key) return "another key";
  const auto resource = decode(valid.key->kind, valid.json);
  if (!resource) return resource.error().message;
  if (const auto* policy = std::get_if<NetworkPolicy>(&*resource)) return policy->broken;
  if (const auto* profile = std::get_if<Profile>(&*resource)) return profile->broken;
  return {};
}

TEST(ValidateProperty, WhatValidatesDecodesWhole) {
  const auto seed = test::any_seed();
  Mutator mutator(seed);
  const auto documents = seeds();
  ASSERT_GT(documents.size(), 12U);
  std::map<Kind, int> valid;
  for (int round = 0; round < 6000; ++round) {
    json::value value = documents[mutator.below(documents.size())];
    const auto kind = find_kind(std::string_view(value.at("apiVersion").as_string()),
                                std::string_view(value.at("kind").as_string()));
    ASSERT_TRUE(kind.has_value());
    for (std::size_t i = 1 + mutator.below(3); i > 0; --i) mutator.mutate(value, *schema::table_of(*kind));
    const auto result = validate(Document{value.get_object(), "", 0, {}});
    if (!result.ok()) continue;
    ++valid[*kind];
    ASSERT_EQ(failure_of(result), "") << "seed " << seed << "\n" << json::serialize(value);
  }
  EXPECT_GT(valid.size(), 12U) << "seed " << seed;  // of the kinds, so that the test says something
}

}  // namespace
}  // namespace ocicat
