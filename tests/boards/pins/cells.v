// Models of the ECP5's cells that a board's top instantiates. The output of the clock generator is
// driven by the simulator's main, in the ratio that the parameters say.
module EHXPLLL #(
    parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1, parameter CLKOP_DIV = 8,
    parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0, parameter CLKOP_ENABLE = "",
    parameter PLLRST_ENA = "", parameter INTFB_WAKE = "", parameter STDBY_ENABLE = "",
    parameter DPHASE_SOURCE = "", parameter FEEDBK_PATH = "", parameter OUTDIVIDER_MUXA = "",
    parameter OUTDIVIDER_MUXB = "", parameter OUTDIVIDER_MUXC = "", parameter OUTDIVIDER_MUXD = ""
) (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
    input PLLWAKESYNC, ENCLKOP,
    output CLKOP, LOCK
);
    reg made /* verilator public_flat_rw */ = 0;
    wire [31:0] reference /* verilator public_flat_rd */ = CLKI_DIV;
    wire [31:0] feedback /* verilator public_flat_rd */ = CLKFB_DIV;
    reg [9:0] count = 0;
    always @(posedge CLKI) if (!LOCK) count <= count + 1;
    assign CLKOP = made;
    assign LOCK = count[9];
endmodule

module DCCA (input CLKI, CE, output CLKO);
    reg open = 0;
    always @(negedge CLKI) open <= CE;
    assign CLKO = CLKI & open;
endmodule
