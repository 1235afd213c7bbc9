// SPDX-License-Identifier: MIT
// One step at a time through RTNeural's LSTMLayerT, the same sequence through fl_forward, and one
// step a call through fl_forward (a stream's use): nanoseconds a step, alternating, medians.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include <RTNeural/config.h>
#include <RTNeural/lstm/lstm.h>

extern "C" {
#include "base/alloc.h"
#include "fastlstm.h"
}

static double now()
{
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

static double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

template <int I, int H> static void compare(int rounds)
{
    const int T = 4000;
    std::mt19937 rng(7);
    std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
    const float bound = 1.0f / std::sqrt((float)H);
    std::vector<float> w(4 * H * I), r(4 * H * H), b(4 * H), zero(4 * H), x(T * I), y(T * H);
    for (auto *v : {&w, &r, &b})
        for (float &f : *v)
            f = bound * draw(rng);
    for (float &f : x)
        f = draw(rng);

    auto owned = std::make_unique<RTNeural::LSTMLayerT<float, I, H>>();
    auto &peer = *owned;
    std::vector<std::vector<float>> wv(I, std::vector<float>(4 * H)), rv(H, wv[0]);
    for (int n = 0; n < 4 * H; n++) {
        for (int i = 0; i < I; i++)
            wv[i][n] = w[n * I + i];
        for (int k = 0; k < H; k++)
            rv[k][n] = r[n * H + k];
    }
    peer.setWVals(wv);
    peer.setUVals(rv);
    peer.setBVals(b);

    const fl_kernels *kernels = nullptr;
    int isa = 0;
    while (!fl_isa_runnable(isa))
        isa++;
    kernels = fl_isa_kernels(isa);
    fl_config config = {};
    config.input = I;
    config.hidden = H;
    config.layers = config.dirs = 1;
    fl_net *net = fl_net_new(&config, kernels);
    fl_net_set(net, 0, 0, w.data(), r.data(), b.data(), zero.data(), nullptr);
    std::vector<float> h(H), c(H);
    fl_call call = {};
    call.batch = call.threads = 1;
    call.x_t = call.x_b = I;
    call.y_t = call.y_b = H;
    call.hn = h.data();
    call.cn = c.data();

    double worst = 0;
    std::vector<double> theirs, whole, single;
    for (int round = 0; round < rounds; round++) {
        peer.reset();
        std::vector<float> got(T * H);
        double a = now();
        for (int t = 0; t < T; t++) {
            peer.forward(Eigen::Map<const Eigen::Matrix<float, I, 1>>(&x[t * I]));
            std::copy_n(peer.outs.data(), H, &got[t * H]);
        }
        theirs.push_back((now() - a) / T * 1e9);

        call.x = x.data();
        call.y = y.data();
        call.h0 = call.c0 = nullptr;
        call.steps = T;
        a = now();
        fl_forward(net, &call);
        whole.push_back((now() - a) / T * 1e9);
        for (int i = 0; i < T * H; i++)
            worst = std::max(worst, (double)std::fabs(got[i] - y[i]));

        std::fill(h.begin(), h.end(), 0.0f);
        std::fill(c.begin(), c.end(), 0.0f);
        call.h0 = h.data();
        call.c0 = c.data();
        call.steps = 1;
        a = now();
        for (int t = 0; t < T; t++) {
            call.x = &x[t * I];
            call.y = &y[t * H];
            fl_forward(net, &call);
        }
        single.push_back((now() - a) / T * 1e9);
        for (int i = 0; i < T * H; i++)
            worst = std::max(worst, (double)std::fabs(got[i] - y[i]));
    }
    double p = median(theirs), s = median(whole), o = median(single);
    printf("I %3d H %3d  RTNeural %6.0f ns  %s: sequence %6.0f ns (%.2f)  a call a step %6.0f ns "
           "(%.2f)  largest difference %.1e\n",
           I, H, p, fl_isa_name(isa), s, s / p, o, o / p, worst);
    fl_net_free(net);
}

int main()
{
    compare<1, 16>(201);
    compare<1, 32>(201);
    compare<1, 64>(101);
    compare<16, 16>(201);
    compare<32, 32>(101);
    compare<64, 64>(101);
    compare<128, 128>(31);
}
