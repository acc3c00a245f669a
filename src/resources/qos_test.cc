#include "resources/qos.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "resources/validate.h"

namespace ocicat {
namespace {

using ::testing::HasSubstr;

QosControls of(const Labels& annotations) {
  return qos_controls(qos_of_annotations(annotations));
}

TEST(Qos, TakesKubernetesAnnotationsAndCalicosOverThem) {
  const auto plain =
      of({{"kubernetes.io/ingress-bandwidth", "10M"}, {"kubernetes.io/egress-bandwidth", "1.5M"}});
  EXPECT_EQ(plain.limits.ingress, (Bandwidth{.rate = 10'000'000, .burst = 4'294'967'296}));
  EXPECT_EQ(plain.limits.egress.rate, 1'500'000);
  EXPECT_EQ(plain.told, "");
  const auto both = of({{"kubernetes.io/ingress-bandwidth", "10M"},
                        {"qos.projectcalico.org/ingressBandwidth", "20M"},
                        {"qos.projectcalico.org/ingressBurst", "1M"},
                        {"qos.projectcalico.org/ingressPeakrate", "30M"},
                        {"qos.projectcalico.org/ingressMinburst", "3k"}});
  EXPECT_EQ(both.limits.ingress,
            (Bandwidth{.rate = 20'000'000, .burst = 1'000'000, .peak = 30'000'000, .least_burst = 3'000}));
  EXPECT_EQ(both.limits.egress, Bandwidth{});
  EXPECT_FALSE(of({}).limits.any());
}

TEST(Qos, TakesTheBoundForWhatIsBeyondItAndSaysSo) {
  const auto low = of({{"kubernetes.io/ingress-bandwidth", "10"}, {"kubernetes.io/egress-bandwidth", "2E"}});
  EXPECT_EQ(low.limits.ingress.rate, 1'000);
  EXPECT_EQ(low.limits.egress.rate, 1'000'000'000'000'000);
  EXPECT_THAT(low.bounded, HasSubstr("ingressBandwidth of 10 is taken as 1000"));
  const auto burst =
      of({{"kubernetes.io/ingress-bandwidth", "1M"}, {"qos.projectcalico.org/ingressBurst", "1E"}});
  EXPECT_EQ(burst.limits.ingress.burst, 34'359'738'360);
}

TEST(Qos, SaysWhatHasNoEffect) {
  const struct {
    Labels annotations;
    const char* told;
  } cases[] = {
      {{{"kubernetes.io/egress-bandwidth", "lots"}},
       R"(kubernetes.io/egress-bandwidth "lots" is no quantity)"},
      {{{"qos.projectcalico.org/ingressBurst", "1M"}}, "ingressBurst is passed over"},
      {{{"qos.projectcalico.org/egressBandwidth", "2M"}, {"qos.projectcalico.org/egressPeakrate", "1M"}},
       "egressPeakrate is passed over"},
      {{{"qos.projectcalico.org/egressBandwidth", "2M"}, {"qos.projectcalico.org/egressMinburst", "1M"}},
       "egressMinburst is passed over"},
      {{{"qos.projectcalico.org/ingressPacketRate", "10"}}, "ingressPacketRate has no effect"},
      {{{"qos.projectcalico.org/egressMaxConnections", "10"}}, "egressMaxConnections has no effect"},
      {{{"qos.projectcalico.org/dscp", "EF"}}, "dscp has no effect"},
  };
  for (const auto& [annotations, told] : cases) EXPECT_THAT(of(annotations).told, HasSubstr(told));
  // What cannot be read limits nothing, whatever else is there.
  EXPECT_FALSE(
      of({{"qos.projectcalico.org/egressBandwidth", "lots"}, {"kubernetes.io/egress-bandwidth", "1M"}})
          .limits.any());
}

TEST(Qos, WhoAppliesADocumentIsWarnedOfWhatHasNoEffect) {
  const auto warnings = [](const char* text) {
    return validate({.json = boost::json::parse(text).as_object(), .file = {}, .line = 0, .line_of = {}})
        .warnings;
  };
  const auto pod = warnings(R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n",
      "annotations": {"qos.projectcalico.org/ingressPacketRate": "10", "kubernetes.io/ingress-bandwidth": "10M"}},
      "spec": {"containers": [{"name": "c", "image": "i"}]}})");
  ASSERT_EQ(pod.size(), 1U);
  EXPECT_THAT(pod[0].to_string(), HasSubstr("ingressPacketRate"));
  const auto endpoint = warnings(R"({"apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
      "metadata": {"name": "h-k8s-p-eth0", "namespace": "n"}, "spec": {"node": "h", "orchestrator": "k8s", "pod": "p",
      "endpoint": "eth0", "qosControls": {"dscp": "EF", "egressBandwidth": 1000, "egressMaxConnections": 5}}})");
  EXPECT_EQ(endpoint.size(), 2U);
}

}  // namespace
}  // namespace ocicat
