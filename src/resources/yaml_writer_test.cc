#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <random>
#include <string>

#include "resources/document.h"
#include "test/support/random.h"

namespace ocicat {
namespace {

namespace json = boost::json;
using testing::IsEmpty;

TEST(YamlWriter, WritesYamlAsPeopleWriteIt) {
  const auto value = json::parse(R"({
    "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
    "metadata": {"name": "api", "labels": {"pci": "true", "tier": "8"}, "annotations": {}},
    "spec": {"order": 10, "half": 0.5, "whole": 3.0, "large": 1e300, "types": ["Ingress"], "ingress": [
      {"action": "Allow", "source": {"nets": ["10.0.0.0/8"], "selector": "app == 'x'"},
       "destination": {"ports": [80, "8000:8080", "http"]}}, {"action": "Deny"}],
      "note": "two\nlines\n", "empty": ""}})");
  EXPECT_EQ(to_yaml(value),
            "apiVersion: projectcalico.org/v3\n"
            "kind: NetworkPolicy\n"
            "metadata:\n"
            "  name: api\n"
            "  labels:\n"
            "    pci: \"true\"\n"
            "    tier: \"8\"\n"
            "  annotations: {}\n"
            "spec:\n"
            "  order: 10\n"
            "  half: 0.5\n"
            "  whole: 3.0\n"
            "  large: 1e+300\n"
            "  types:\n"
            "  - Ingress\n"
            "  ingress:\n"
            "  - action: Allow\n"
            "    source:\n"
            "      nets:\n"
            "      - 10.0.0.0/8\n"
            "      selector: app == 'x'\n"
            "    destination:\n"
            "      ports:\n"
            "      - 80\n"
            "      - \"8000:8080\"\n"
            "      - http\n"
            "  - action: Deny\n"
            "  note: |\n"
            "    two\n"
            "    lines\n"
            "  empty: \"\"\n");
}

class RandomValue {
 public:
  explicit RandomValue(std::uint64_t seed) : random_(seed) {}

  json::object object(int depth) {
    json::object result;
    const auto size = below(5);
    for (std::uint64_t i = 0; i < size; ++i) result.emplace(text(), value(depth + 1));
    return result;
  }

 private:
  json::value value(int depth) {
    switch (below(depth > 5 ? 6 : 9)) {
      case 0:
        return nullptr;
      case 1:
        return below(2) == 0;
      case 2:
        return static_cast<std::int64_t>(random_());
      case 3:
        return random_();
      case 4:
        return static_cast<double>(static_cast<std::int64_t>(random_())) / 1024;
      case 5:
      case 6:
        return json::value(text());
      case 7:
        return object(depth);
      default: {
        json::array list;
        const auto size = below(4);
        for (std::uint64_t i = 0; i < size; ++i) list.push_back(value(depth + 1));
        return list;
      }
    }
  }

  std::string text() {
    static const std::string_view kPieces[] = {
        "a",      "B",    "-",   ":",   " ",     "\n",         "#",
        "yes",    "null", "0x1", "1e3", "12:30", "'",          "\"",
        "\\",     "{",    "]",   "&",   "*x",    "!",          "%",
        "@",      "\t",   "\r",  "é",   "😀",    "\u2028",     "\u0085",
        "\ufeff", "- ",   "---", "...", "<<",    "~",          "=",
        "\x01",   "\x7f", ": ",  " #",  "|",     "2026-01-31", std::string_view("\0", 1),
    };
    if (below(60) == 0) return std::string(2000, 'k') + std::to_string(below(1000));
    std::string result;
    const auto size = below(5);
    for (std::uint64_t i = 0; i < size; ++i) result += kPieces[below(std::size(kPieces))];
    return result;
  }

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  std::mt19937_64 random_;
};

TEST(YamlWriter, WhatIsWrittenReadsBackAsTheSameValue) {
  const auto seed = test::any_seed();
  RandomValue random(seed);
  for (int round = 0; round < 3000; ++round) {
    json::object value = random.object(0);
    value["kind"] = "Thing";
    const std::string yaml = to_yaml(value);
    const auto read = read_documents(yaml, "f.yaml");
    ASSERT_THAT(read.complaints, IsEmpty()) << "seed " << seed << "\n" << yaml;
    ASSERT_EQ(read.documents.size(), 1U) << "seed " << seed << "\n" << yaml;
    ASSERT_EQ(read.documents[0].json, value) << "seed " << seed << "\n" << yaml;
  }
}

TEST(YamlWriter, SeveralObjectsAreWrittenAsSeveralDocuments) {
  const json::array values{json::object{{"a", 1}}, json::object{{"a", "---\nb"}}};
  const std::string yaml = to_yaml(values);
  EXPECT_EQ(yaml, "a: 1\n---\na: |-\n  ---\n  b\n");
  const auto read = read_documents(yaml, "f.yaml");
  ASSERT_EQ(read.documents.size(), 2U);
  EXPECT_EQ(read.documents[0].json, values[0]);
  EXPECT_EQ(read.documents[1].json, values[1]);
}

}  // namespace
}  // namespace ocicat
